-- Finds the fixed window that it is now: the last one, or a new one.
-- takes: counter, period (as fixed.lua has them)
-- sets: ends, used (µs; the units used in it)
local last, units = string.match(call('GET', counter) or '', '^(%d+):(%d+)$')
ends, used = tonumber(last or 0), tonumber(units or 0)
if now >= ends then ends, used = now + period, 0 end
