-- What is of another type is none of this cache's: as good as absent, and written over.
-- takes: failure
-- sets: failure
if failure and string.find(tostring(failure), 'WRONGTYPE', 1, true) then failure = nil end
