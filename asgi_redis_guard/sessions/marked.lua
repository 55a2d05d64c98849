-- Leave a mark in place of a session that was replaced, for a day, so that the reuse of its id is noticed.
-- takes: old, mark (its fields)
-- sets: nothing; what cannot be marked stops nothing
for name, word in pairs(mark) do call('HSET', old .. ':replaced', name, word) end
call('PEXPIRE', old .. ':replaced', 86400000)
failure = nil
