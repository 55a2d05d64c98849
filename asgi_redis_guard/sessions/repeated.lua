-- name: sessions.repeated
-- keys: stream (as in sessions.record)
-- args: kind, details, retention, most, about, like, pause, share, rest (as in sessions.record; text of the details of those that are counted with this one; text that makes one of these the same; ms from the same to the next; of the newest 100 events, how many may be counted with it; ms to the next where so many are)
-- repeatable: yes
-- returns: id (as in sessions.record; 0 if it was left out)
-- keeps: place
-- @check
local many, latest, same, at = 0, nil, nil, floor(now / 1000)
for _, event in ipairs(call('XREVRANGE', stream, '+', '-', 'COUNT', 100) or {}) do
  local details = event[2][4]
  if event[2][2] == kind and string.find(details, about, 1, true) then
    local before = string.match(event[1], '^%d+')
    many, latest = many + 1, latest or before
    if not same and string.find(details, like, 1, true) then same = before end
  end
end
local is_due = not same or at - same >= pause + 0
if is_due and many >= share + 0 then is_due = at - latest >= rest + 0 end
if is_due and not failure then
  -- @include next.lua
end
-- @commit
if place then
  local id
  -- @include append.lua
end
