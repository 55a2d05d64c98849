-- name: sessions.destroy
-- keys: record, index, notes (as in sessions.create)
-- args: handle (member of the index)
-- repeatable: yes
-- @check
-- @commit
if index ~= record then
  local stem = string.sub(record, 1, #record - #handle)
  local before = call('HGET', record, 'p')
  while before do -- what it replaced can be read for its overlap
    local older = stem .. before
    before = call('HGET', older, 'p')
    call('DEL', older)
  end
  call('ZREM', index, handle)
  call('HDEL', notes, handle)
end
call('DEL', record)
