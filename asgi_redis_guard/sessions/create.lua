-- name: sessions.create
-- keys: record, index, notes (as in sessions.save; of its user's sessions where they began, by handle)
-- args: handle, set, idle, lifetime, note, cap, excess, leaver, log (as in sessions.save; ms; ms; 20 characters for the device, then JSON; most sessions of a user, empty for any number; evict_oldest, evict_lru or deny; a session that ends with this, not counted; events to record, as in tell.lua, empty for none)
-- keeps: deadline, leaving, telling
-- returns: ends, stamp, state, evicted, told (when it ends at the latest; the server's time; ms; 1 made, 3 too many; the handles that had to go, 0 for none; the ids of the events or an error in place of one, those of the handles first; 0 for none)
-- repeatable: yes
-- @check
stamp = floor(now / 1000)
ends = stamp + lifetime
state = 1
-- @include cap.lua
if state == 1 then
  deadline = stamp + idle
  if deadline > ends then deadline = ends end
end
if log ~= '' then
  told = {}
  telling = told -- the commit fills it
end
-- @commit
if deadline then
  local stamp = floor(now / 1000)
  local last = string.format('%.0f', stamp + lifetime)
  call('HSET', record, 'm', string.format('%.0f:%s:%s:%.0f:1', stamp, last, idle, stamp))
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  elseif index ~= record then
    -- @include enter.lua
  end
end
if telling and not failure then
  local what = deadline and 'done' or 'denied'
  -- @include tell.lua
end
