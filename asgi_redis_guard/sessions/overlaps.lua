-- End what a session has replaced, which can be read for its overlap, and what that has replaced.
-- takes: stem, one (what the keys of the user's records begin with; the handle of the session)
-- sets: nothing
local before = call('HGET', stem .. one, 'p')
while before do
  local older = stem .. before
  before = call('HGET', older, 'p')
  call('DEL', older)
end
