-- name: sessions.repeated
-- keys: stream (as in sessions.record)
-- args: kind, details, retention, most, pause, share, rest (as in sessions.record; ms from one of this kind to the next; of the newest 100 events, how many may be of this kind; ms to the next where so many are)
-- repeatable: yes
-- returns: id (as in sessions.record; 0 if it was left out)
-- keeps: place
-- @check
local many, latest = 0, nil
for _, event in ipairs(call('XREVRANGE', stream, '+', '-', 'COUNT', 100) or {}) do
  if event[2][2] == kind then
    many, latest = many + 1, latest or string.match(event[1], '^%d+')
  end
end
if not failure and (not latest or floor(now / 1000) - latest >= (many < share + 0 and pause or rest) + 0) then
  -- @include next.lua
end
-- @commit
if place then
  local id
  -- @include append.lua
end
