-- name: locks.peek
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token)
-- args: token
-- repeatable: yes
-- returns: state (0 free, 1 held with this token, 2 held with another), left (ms; -1 for ever), number (the fence)
-- @check
local holder = call('GET', lock)
if holder then
  state = string.sub(holder, 18) == token and 1 or 2
  left = call('PTTL', lock) or 0
  number = tonumber(string.sub(holder, 2, 17)) or 0
end
-- @commit
