-- Look at all that a session has replaced, before anything is written (overlaps.lua ends it).
-- takes: stem, one (what the keys of the user's records begin with; the handle of the session)
-- sets: nothing
-- While a slot of a cluster moves, a key that is not here fails the check, which is tried again.
local before = call('HGET', stem .. one, 'p')
while before do before = call('HGET', stem .. before, 'p') end
