-- Finds the window that it is now.
-- takes: windows, period (as counter.lua has them)
-- sets: begun, before, used (µs; the units used in the one before it, and in this one)
local first, second, third = string.match(call('GET', windows) or '', '^(%d+):(%d+):(%d+)$')
begun, before, used = tonumber(first or now), tonumber(second or 0), tonumber(third or 0)
if now >= begun + period then
  if used > 0 and now < begun + 2 * period then
    begun, before, used = begun + period, used, 0
  else
    begun, before, used = now, 0, 0
  end
end
