-- name: sessions.swap
-- keys: record, index (as in sessions.save)
-- args: handle, name, seen, word, expected, limit, sealed (member of the index; a field; what it is taken to hold, empty for nothing; what it shall; as in sessions.save)
-- keeps: times, deadline
-- returns: state, version, text (as in sessions.save, 2: the field holds something else; as in sessions.save; what it holds then, empty for nothing)
-- @check
local found = call('HMGET', record, 'm', 'o', name)
local stamp = floor(now / 1000)
-- @include times.lua
if created then
  text = found[3] or ''
  if text ~= seen then
    state = 2
  else
    state = 1
    if expected + 0 ~= version then
      local words, gone, size = { [name] = word }, {}, 0
      -- @include size.lua
      if size > limit + 0 then state, version = 4, size end
    end
    if state == 1 then
      -- @include renew.lua
    end
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times, name, word)
  if not failure then call('PEXPIREAT', record, deadline) end
  local stamp = floor(now / 1000)
  -- @include extend.lua
end
