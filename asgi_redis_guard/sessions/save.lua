-- name: sessions.save
-- keys: record, index (as in sessions.load; the sessions of its user by their end, the record itself if it has no user)
-- args: handle, set, unset, expected (member of the index; JSON: names to values; names; a version, empty for any)
-- keeps: times, deadline
-- returns: state, version, stamp (1 saved, 0 gone, 2 at another version; the version that stands afterwards; ms)
-- @check
local found = call('HMGET', record, 'm', 'o')
stamp = floor(now / 1000)
if found and found[1] and not found[2] then
  local created, ends, idle, _, count = string.match(found[1], '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  version = tonumber(count)
  if expected ~= '' and expected + 0 ~= version then
    state = 2
  else
    state = 1
    version = version + 1
    deadline = stamp + idle
    if deadline > ends + 0 then deadline = ends + 0 end
    times = string.format('%s:%s:%s:%.0f:%.0f', created, ends, idle, stamp, version)
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times)
  -- Where memory is full the first write fails, and then nothing must be removed either.
  if not failure then
    for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
    for _, name in ipairs(cjson.decode(unset)) do call('HDEL', record, name) end
    call('PEXPIREAT', record, deadline)
  end
  if not failure and index ~= record then
    call('ZADD', index, 'XX', deadline, handle)
    if (call('PTTL', index) or 0) < deadline - floor(now / 1000) then call('PEXPIREAT', index, deadline) end
  end
end
