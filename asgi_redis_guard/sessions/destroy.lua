-- name: sessions.destroy
-- keys: record, index (as in sessions.save)
-- args: handle, channel (member of the index; where its end is told)
-- repeatable: yes
-- @check
-- @commit
call('DEL', record)
if index ~= record then call('ZREM', index, handle) end
call('PUBLISH', channel, handle)
