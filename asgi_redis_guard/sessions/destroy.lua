-- name: sessions.destroy
-- keys: record, index (as in sessions.save)
-- args: handle (member of the index)
-- repeatable: yes
-- @check
-- @commit
call('DEL', record)
if index ~= record then call('ZREM', index, handle) end
