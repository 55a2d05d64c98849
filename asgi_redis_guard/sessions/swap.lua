-- name: sessions.swap
-- keys: record, index (as in sessions.save)
-- args: handle, name, seen, word (member of the index; a field; what it is taken to hold, empty for nothing; what it shall)
-- keeps: times, deadline
-- returns: state, version, text (as in sessions.save, 2: the field holds something else; what it holds then, empty for nothing)
-- @check
local found = call('HMGET', record, 'm', 'o', name)
if found and found[1] and not found[2] then
  local created, ends, idle, _, count = string.match(found[1], '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  version = tonumber(count)
  text = found[3] or ''
  if text ~= seen then
    state = 2
  else
    state = 1
    version = version + 1
    deadline = floor(now / 1000) + idle
    if deadline > ends + 0 then deadline = ends + 0 end
    times = string.format('%s:%s:%s:%.0f:%.0f', created, ends, idle, floor(now / 1000), version)
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times, name, word)
  if not failure then call('PEXPIREAT', record, deadline) end
  if not failure and index ~= record then
    call('ZADD', index, 'XX', deadline, handle)
    if (call('PTTL', index) or 0) < deadline - floor(now / 1000) then call('PEXPIREAT', index, deadline) end
  end
end
