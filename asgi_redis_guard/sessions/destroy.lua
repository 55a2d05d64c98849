-- name: sessions.destroy
-- keys: record, index, notes (as in sessions.create)
-- args: handle, channel, log (member of the index; where its end is told; as in sessions.create)
-- keeps: going, onward, telling
-- returns: heirs, heir, place, told (handles of what had replaced it and ends with it, 0 for none; the handle of what had replaced the last of these from another slot, and its place, as in sessions.rotate; 0 for none; as in sessions.create, of a session that was there)
-- repeatable: yes
-- @check
local stem, at = string.sub(record, 1, #record - #handle), handle
going = {}
while at do
  local found = call('HMGET', stem .. at, 'm', 'o', 'w') or {}
  if at ~= handle and not found[1] and not found[2] then break end
  if at == handle and found[1] and log ~= '' then
    told = {}
    telling = told
  end
  going[#going + 1] = at
  if found[2] and found[3] then
    heir, place, onward = found[2], found[3], true
  end
  at = index ~= record and not onward and found[2]
end
if index ~= record then
  local one = handle
  -- @include reach.lua
end
if #going > 1 then
  heirs = {}
  for i = 2, #going do heirs[i - 1] = going[i] end
end
-- @commit
local stem = string.sub(record, 1, #record - #handle)
if index ~= record then
  local one = handle
  -- @include overlaps.lua
end
if failure then going = {} end -- what it had replaced could not be ended: it is tried again as a whole
for _, one in ipairs(going) do
  if onward then -- what is left is no session, but leads a repetition to the heir; it goes when the overlap is over
    for _, name in ipairs(call('HKEYS', stem .. one) or {}) do
      if name ~= 'o' and name ~= 'w' then call('HDEL', stem .. one, name) end
    end
  else
    call('DEL', stem .. one)
  end
  if index ~= record then
    call('ZREM', index, one)
    call('HDEL', notes, one)
  end
  call('PUBLISH', channel, one)
end
if telling and not failure then
  local what, leaving = 'done', nil
  -- @include tell.lua
end
