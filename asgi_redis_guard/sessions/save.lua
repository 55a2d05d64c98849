-- name: sessions.save
-- keys: record, index (as in sessions.load; the sessions of its user by their end, the record itself if it has no user)
-- args: handle, set, unset, expected, limit, sealed (member of the index; JSON: names to values; names; the version that the caller has seen; bytes of names and values that may stand afterwards; 1 where values are encrypted, else empty)
-- keeps: times, deadline
-- returns: state, version, stamp (1 saved, 0 gone, 4 too large; the version that stands afterwards, of what is too large its bytes; ms)
-- @check
local found = call('HMGET', record, 'm', 'o')
stamp = floor(now / 1000)
-- @include times.lua
if created then
  state = 1
  -- The caller has measured what it has seen; others may have written since.
  if expected + 0 ~= version and set ~= '{}' then
    local words, gone, size = cjson.decode(set), {}, 0
    for _, name in ipairs(cjson.decode(unset)) do gone[name] = true end
    -- @include size.lua
    if size > limit + 0 then state, version = 4, size end
  end
  if state == 1 then
    -- @include renew.lua
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
  local stamp = floor(now / 1000)
  -- @include extend.lua
end
