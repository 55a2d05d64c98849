-- Make the next times of a record that is written now.
-- takes: stamp (now, in ms), created, ends_at, idle, version (as in times.lua)
-- sets: version, deadline (when it ends if it is not used again, ms), times (its `m`)
version = version + 1
deadline = stamp + idle
if deadline > ends_at + 0 then deadline = ends_at + 0 end
times = string.format('%s:%s:%s:%.0f:%.0f', created, ends_at, idle, stamp, version)
