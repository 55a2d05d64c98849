-- name: sessions.publish
-- args: channel, message
-- repeatable: yes
-- @check
-- @commit
call('PUBLISH', channel, message)
