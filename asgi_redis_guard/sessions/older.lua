-- Find what a session has replaced itself and can still be read, before anything is written.
-- takes: old, leaver (as in sessions.rotate)
-- sets: older (its key, nil where there is none)
-- While a slot of a cluster moves, nobody can tell of a key that is not there, and then nothing is to be done.
local before = call('HGET', old, 'p')
if before then
  local key = string.sub(old, 1, #old - #leaver) .. before
  if call('EXISTS', key) == 1 then older = key end
end
