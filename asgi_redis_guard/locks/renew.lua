-- name: locks.renew
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token)
-- args: token, ttl (ms), how (`least`: to no less than ttl; `add`: by ttl; `set`: to ttl)
-- keeps: ends
-- returns: left (ms)
-- repeatable: yes
-- @check
local holder = call('GET', lock)
if holder and string.sub(holder, 18) == token then
  left = call('PTTL', lock) or 0
  if how == 'add' then
    left = left + ttl
  elseif how == 'set' or left < ttl + 0 then
    left = ttl + 0
  end
  ends = string.format('%.0f', left)
else
  stop = true
end
-- @commit
call('PEXPIRE', lock, ends)
