-- name: ratelimit.gcra
-- keys: cell (a string: the theoretical arrival time, µs)
-- args: emission, tolerance, cost (µs per unit; µs, emission times burst; units)
-- keeps: tat
-- group: limits
-- repeatable: yes
-- returns: remaining, reset_after, retry_after (units left once this is counted; µs until the burst is whole again;
--          µs until this would fit, 0 if it does)
-- @check
local step, bound, units = tonumber(emission), tonumber(tolerance), tonumber(cost)
local tat = tonumber(call('GET', cell)) or 0
if tat < now then tat = now end
local after = tat + step * units
if after - bound > now then
  stop = true
  result = {math.max(0, floor((bound - tat + now) / step)), tat - now, after - bound - now}
else
  tat = after
  result = {floor((bound - tat + now) / step), tat - now, 0}
end
-- @commit
call('SET', cell, string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000)))
