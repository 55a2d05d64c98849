-- name: sessions.save
-- keys: record, index (as in sessions.load; the sessions of its user by their end, the record itself if it has no user)
-- args: handle, set, unset (member of the index; JSON: names to values; names)
-- keeps: times, deadline
-- returns: state, version, stamp (1 saved, 0 gone; the version that stands afterwards; ms)
-- @check
local found = call('HMGET', record, 'm', 'o')
stamp = floor(now / 1000)
-- @include times.lua
if created then
  state = 1
  -- @include renew.lua
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
  local stamp = floor(now / 1000)
  -- @include extend.lua
end
