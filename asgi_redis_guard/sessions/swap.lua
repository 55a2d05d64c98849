-- name: sessions.swap
-- keys: record, index (as in sessions.save)
-- args: handle, name, seen, word (member of the index; a field; what it is taken to hold, empty for nothing; what it shall)
-- keeps: times, deadline
-- returns: state, version, text (as in sessions.save, 2: the field holds something else; what it holds then, empty for nothing)
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
    -- @include renew.lua
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times, name, word)
  if not failure then call('PEXPIREAT', record, deadline) end
  local stamp = floor(now / 1000)
  -- @include extend.lua
end
