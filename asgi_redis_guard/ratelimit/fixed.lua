-- name: ratelimit.fixed
-- keys: counter (a string: units used; its TTL is the rest of the window)
-- args: amount, period, cost (units; µs; units)
-- keeps: used, left
-- group: limits
-- repeatable: yes
-- returns: remaining, reset_after, retry_after (units; µs; µs, 0 if this fits)
-- @check
local units = tonumber(cost)
local used = tonumber(call('GET', counter)) or 0
local left = used > 0 and call('PTTL', counter) or 0
if left <= 0 then used, left = 0, math.ceil(tonumber(period) / 1000) end
local free = tonumber(amount) - used
used = used + units
if units > free then
  stop = true
  result = {math.max(0, free), left * 1000, left * 1000}
else
  result = {free - units, left * 1000, 0}
end
-- @commit
call('SET', counter, string.format('%.0f', used), 'PX', string.format('%.0f', left))
