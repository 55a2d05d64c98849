-- name: sessions.heir
-- keys: record, index, notes (as in sessions.create)
-- args: handle, set, created, ends_at, idle, version, lifetime, note, cap, excess, log (as in sessions.save; when the session began, and ends at the latest, ms; ms that it may be unused; the version that it replaces; ms from now on, empty keeps the end; as in sessions.create)
-- keeps: times, deadline, last, leaving, what, telling
-- returns: ends, stamp, state, evicted, told (as in sessions.create)
-- repeatable: yes
-- Makes what is to replace a session of another slot, which then is left (leave.lua). Until that has happened nobody
-- knows its id: the same is made again, with what was written meanwhile, and is no other login then.
-- @check
stamp = floor(now / 1000)
state = 1
local is_there, leaver = call('HGET', record, 'm'), ''
-- @include cap.lua
if state == 1 then
  if lifetime ~= '' then
    created, ends_at = string.format('%.0f', stamp), string.format('%.0f', stamp + lifetime)
  end
  -- @include renew.lua
  last, ends = ends_at, ends_at + 0
end
if log ~= '' and not is_there then
  what, told = state == 1 and 'done' or 'denied', {}
  telling = told
end
-- @commit
if times then
  call('DEL', record)
  call('HSET', record, 'm', times)
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  elseif index ~= record then
    local stamp = floor(now / 1000)
    -- @include enter.lua
  end
end
if telling and not failure then
  -- @include tell.lua
end
