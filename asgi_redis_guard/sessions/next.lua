-- Foretell the id that the next event of a stream has.
-- takes: stream
-- sets: id, place (the same: when, ms by the server's clock, and its number within that millisecond)
local stamp, number = floor(now / 1000), 0
local last = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if last and last[1] then
  local before, count = string.match(last[1][1], '^(%d+)-(%d+)$')
  if before + 0 >= stamp then
    stamp, number = before + 0, count + 1
  end
end
id = string.format('%.0f-%.0f', stamp, number)
place = id
