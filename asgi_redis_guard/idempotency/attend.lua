-- name: idempotency.attend
-- keys: record (as in begin.lua)
-- args: token
-- keeps: unmarked
-- repeatable: yes
-- @check
local head = call('GETRANGE', record, 0, 37) or ''
unmarked = string.sub(head, 1, 2) == 'P-' and string.sub(head, 23) ~= token
-- @commit
if unmarked then call('SETRANGE', record, 1, 'w') end -- who ends it says so
