-- name: idempotency.renew
-- keys: record (as in begin.lua)
-- args: token, lease (ms)
-- repeatable: yes
-- @check
local head = call('GETRANGE', record, 0, 37) or ''
stop = string.sub(head, 1, 1) ~= 'P' or string.sub(head, 23) ~= token
-- @commit
call('PEXPIRE', record, lease)
