-- name: ratelimit.log
-- keys: entries (a sorted set: one member a unit, scored by its time, µs)
-- args: amount, period, cost (units; µs; units)
-- keeps: count
-- group: limits
-- repeatable: yes
-- undo: log_settle.lua (amount, period, now, cost, 0)
-- returns: remaining, reset_after, retry_after (units left; µs until the window is empty; µs, 0 if this fits)
-- @check
local open = string.format('(%.0f', now - period)
count = call('ZCOUNT', entries, open, '+inf') or 0
remaining = amount - count
if remaining < cost + 0 then
  stop = true
  local last = count > 0 and call('ZREVRANGE', entries, 0, 0, 'WITHSCORES')
  local nth = call('ZRANGEBYSCORE', entries, open, '+inf', 'WITHSCORES', 'LIMIT', cost - remaining - 1, 1)
  reset_after = last and last[2] and last[2] + period - now or period + 0
  retry_after = nth and nth[2] and nth[2] + period - now or period + 0
  if remaining < 0 then remaining = 0 end
else
  reset_after = period + 0
  remaining = remaining - cost
end
-- @commit
if cost + 0 > 0 then
  local stamp = string.format('%.0f', now)
  call('ZREMRANGEBYSCORE', entries, '-inf', string.format('%.0f', now - period))
  local number = count
  for _ = 1, cost + 0 do
    repeat number = number + 1 until call('ZADD', entries, stamp, stamp .. ':' .. number) ~= 0 -- 0: another unit's name
  end
  call('PEXPIRE', entries, ceil(period / 1000))
end
