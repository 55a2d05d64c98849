-- name: locks.attend
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token)
-- args: token
-- keeps: unmarked
-- repeatable: yes
-- @check
local holder = call('GET', lock)
unmarked = holder and string.sub(holder, 18) ~= token and string.sub(holder, 1, 1) == '-'
-- @commit
if unmarked then call('SETRANGE', lock, 0, 'w') end -- who releases it says so
