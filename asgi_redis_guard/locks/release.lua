-- name: locks.release
-- keys: lock (its holder: a mark of waiters, the fence in 16 digits, the token)
-- args: token, channel, word (what is said there if somebody waits)
-- keeps: mine, told
-- returns: held (1 if it was held with this token), waited (1 if others wait for it)
-- repeatable: yes
-- @check
local holder = call('GET', lock)
mine = holder and string.sub(holder, 18) == token
told = mine and string.sub(holder, 1, 1) == 'w'
held, waited = mine and 1 or 0, told and 1 or 0
-- @commit
if mine then call('DEL', lock) end
if told then redis.pcall('PUBLISH', channel, word) end -- whoever may not publish has done it all the same
