-- Put a session into the index of its user, in the place of those that have to go.
-- takes: record, index, notes, handle, note (as in sessions.create), leaving (as in cap.lua), stamp, deadline, last (in ms: now, when it ends if it is not used again, and at the latest)
-- sets: nothing
local stem = string.sub(record, 1, #record - #handle)
for _, one in ipairs(leaving or {}) do
  -- @include overlaps.lua
  call('DEL', stem .. one)
  call('HSET', stem .. one, 'e', 'evicted')
  call('PEXPIRE', stem .. one, 3600000) -- long enough to be told why
  call('ZREM', index, one)
  call('HDEL', notes, one)
end
local dead = call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', stamp)) or {}
for _, one in ipairs(dead) do
  call('ZREM', index, one)
  call('HDEL', notes, one)
end
if call('ZCARD', index) == 0 then call('DEL', notes) end -- the index may have expired as a whole
call('HSET', notes, handle, note)
if (call('PTTL', notes) or 0) < last - stamp then call('PEXPIREAT', notes, last) end
call('ZADD', index, deadline, handle)
if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
