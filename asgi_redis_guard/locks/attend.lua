-- name: locks.attend
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token)
-- args: token
-- repeatable: yes
-- @check
-- The mark is set here and not in a commit: where a round is cut, it goes with each look at the lock.
local holder = call('GET', lock)
if holder and string.sub(holder, 18) ~= token and string.sub(holder, 1, 1) == '-' then
  call('SETRANGE', lock, 0, 'w') -- who releases it says so
end
