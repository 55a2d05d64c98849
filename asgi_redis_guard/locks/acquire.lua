-- name: locks.acquire
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token), fence (the last one that was given)
-- args: token, ttl (ms), memory (ms that the fence is remembered)
-- keeps: value
-- returns: number (the fence of this holder), left (ms until another's time is up; -1 for never)
-- repeatable: yes
-- holds: yes
-- undo: undo.lua (token)
-- @check
local holder = call('GET', lock)
if not holder then
  local last = tonumber(call('GET', fence) or '') or 0
  number = last >= now and last < 9000000000000000 and last + 1 or now -- garbage is none
  value = string.format('-%016.0f', number) .. token
elseif string.sub(holder, 18) == token then -- asked again: the reply was lost
  number = tonumber(string.sub(holder, 2, 17)) or 0
else
  stop = true
  left = call('PTTL', lock) or 0
end
-- @commit
if value then
  call('SET', fence, string.sub(value, 2, 17), 'PX', memory)
  call('SET', lock, value, 'PX', ttl)
else
  call('PEXPIRE', lock, ttl)
end
