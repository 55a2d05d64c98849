-- name: ratelimit.fixed
-- keys: counter (a string: when its window ends, µs, and the units used in it)
-- args: amount, period, cost (units; µs; units)
-- keeps: ends, used
-- group: limits
-- repeatable: yes
-- returns: remaining, reset_after, retry_after (units left; µs; µs, 0 if this fits)
-- @check
-- @include window.lua
reset_after = ends - now
remaining = amount - used
if remaining < cost + 0 then
  stop = true
  retry_after = reset_after
  if remaining < 0 then remaining = 0 end
else
  used = used + cost
  remaining = remaining - cost
end
-- @commit
if cost + 0 > 0 then
  call('SET', counter, string.format('%.0f:%.0f', ends, used), 'PX', ceil((ends - now) / 1000))
end
