-- name: sessions.rotate
-- keys: old, former, record, index (what is replaced and its index; what replaces it and its index, as in sessions.save)
-- args: leaver, handle, set, expected, lifetime, overlap (members of the indexes; as in sessions.save; empty keeps the end; ms)
-- keeps: times, deadline, left
-- returns: state, version, ends, stamp (as in sessions.save; as in sessions.create)
-- @check
local found = call('HMGET', old, 'm', 'o')
stamp = floor(now / 1000)
if found and found[1] and not found[2] then
  local created, last, idle, _, count = string.match(found[1], '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  version = tonumber(count)
  if expected ~= '' and expected + 0 ~= version then
    state = 2
  else
    state = 1
    version = version + 1
    ends = last + 0
    if lifetime ~= '' then
      ends = stamp + lifetime
      created = string.format('%.0f', stamp)
    end
    deadline = stamp + idle
    if deadline > ends then deadline = ends end
    times = string.format('%s:%.0f:%s:%.0f:%.0f', created, ends, idle, stamp, version)
    left = call('PTTL', old)
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times)
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  else
    local stamp = floor(now / 1000)
    if overlap + 0 > 0 then
      call('HSET', old, 'o', handle)
      if left < 0 or left > overlap + 0 then call('PEXPIRE', old, overlap) end
    else
      call('DEL', old)
    end
    if former ~= old then call('ZREM', former, leaver) end
    if index ~= record then
      call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', stamp))
      call('ZADD', index, deadline, handle)
      if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
    end
  end
end
