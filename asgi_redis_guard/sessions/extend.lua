-- Let a session that was used stay in the index of its user.
-- takes: record, index, handle (as in sessions.save), stamp, deadline (as in renew.lua)
-- sets: nothing
if not failure and index ~= record then
  call('ZADD', index, deadline, handle) -- also where the server has dropped the index: the record lives
  if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
end
