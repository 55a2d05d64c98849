-- Finds the calendar period that it is now by the server's clock; an app's clock that is far off does no harm.
-- takes: counter, first, second, third (as calendar.lua has them)
-- sets: began, ends, used (µs; µs; the units used in it)
local last, units = string.match(call('GET', counter) or '', '^(%d+):(%d+)$')
local began = tonumber(second)
ends = tonumber(third)
if now < first + 0 then
  local periods = ceil((first - now) / (second - first))
  began, ends = first - periods * (second - first), first - (periods - 1) * (second - first)
elseif now < second + 0 then
  began, ends = tonumber(first), tonumber(second)
elseif now >= ends then
  local periods = ceil((now + 1 - ends) / (third - second))
  began, ends = began + periods * (third - second), ends + periods * (third - second)
end
used = 0
last = tonumber(last or 0)
if last >= ends then
  if last > ends then began = ends end -- the clock was set back; the period that is counted began no sooner
  ends, used = last, tonumber(units)
end
