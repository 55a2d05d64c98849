-- name: ratelimit.log
-- keys: entries (a sorted set: one member a unit, scored by its time, µs)
-- args: amount, period, cost (units; µs; units)
-- keeps: count
-- group: limits
-- repeatable: yes
-- returns: remaining, reset_after, retry_after (units; µs until the window is empty; µs, 0 if this fits)
-- @check
local span, units = tonumber(period), tonumber(cost)
local open = string.format('(%.0f', now - span)
local count = call('ZCOUNT', entries, open, '+inf') or 0
local free = tonumber(amount) - count
if units > free then
  stop = true
  local wait, last = span, call('ZREVRANGE', entries, 0, 0, 'WITHSCORES')
  local nth = call('ZRANGEBYSCORE', entries, open, '+inf', 'WITHSCORES', 'LIMIT', units - free - 1, 1)
  if nth and nth[2] then wait = nth[2] + span - now end
  result = {math.max(0, free), last and last[2] and last[2] + span - now or span, wait}
else
  result = {free - units, span, 0}
end
-- @commit
call('ZREMRANGEBYSCORE', entries, '-inf', string.format('%.0f', now - tonumber(period)))
local stamp = string.format('%.0f', now)
for unit = 1, tonumber(cost) do call('ZADD', entries, stamp, stamp .. ':' .. (count + unit)) end
call('PEXPIRE', entries, string.format('%.0f', math.ceil(tonumber(period) / 1000)))
