-- name: sessions.reused
-- keys: mark, stream (what a session has left that was replaced; the events of its user, as in sessions.record)
-- args: kind, details, retention, most (as in sessions.record)
-- repeatable: yes
-- returns: id (as in sessions.record; 0 if it was recorded before)
-- keeps: place
-- @check
if call('EXISTS', mark) == 1 then
  -- @include next.lua
end
-- @commit
if place then
  local id
  -- @include append.lua
  call('DEL', mark)
end
