-- name: ratelimit.fixed
-- keys: counter (a string: units used; its TTL is the rest of the window)
-- args: amount, period, cost (units; µs; units)
-- keeps: used, left
-- group: limits
-- repeatable: yes
-- returns: remaining, reset_after, retry_after (units left; µs; µs, 0 if this fits)
-- @check
used = tonumber(call('GET', counter)) or 0
left = used > 0 and call('PTTL', counter) or 0
if left <= 0 then used, left = 0, ceil(period / 1000) end
reset_after = left * 1000
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
if cost + 0 > 0 then call('SET', counter, used, 'PX', left) end
