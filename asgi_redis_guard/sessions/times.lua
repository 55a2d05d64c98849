-- Read the times of a record that may be written: one that is there, and that nothing has replaced.
-- takes: found (what HMGET says of its `m` and `o`)
-- sets: created, ends_at, idle (ms as text, created is nil for a record that must not be written), version
local created, ends_at, idle, count
if found and found[1] and not found[2] then
  created, ends_at, idle, count = string.match(found[1], '^(%d+):(%d+):(%d+):%d+:(%d+)$')
  version = tonumber(count or 0)
end
