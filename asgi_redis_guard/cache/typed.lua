-- Takes what is of another type for absent: it is none of this cache's, and is written over.
-- takes: failure (of the reads before)
-- sets: failure (nil if it was that)
if failure and string.find(tostring(failure), 'WRONGTYPE', 1, true) then failure = nil end
