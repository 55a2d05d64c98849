-- name: idempotency.release
-- keys: record (as in begin.lua)
-- args: token, channel, word (what is said there if somebody waits)
-- keeps: mine, waited
-- repeatable: yes
-- @check
local head = call('GETRANGE', record, 0, 37) or ''
mine = string.sub(head, 1, 1) == 'P' and string.sub(head, 23) == token
waited = mine and string.sub(head, 2, 2) == 'w'
-- @commit
if mine then call('DEL', record) end
if waited then redis.pcall('PUBLISH', channel, word) end -- whoever may not publish has done it all the same
