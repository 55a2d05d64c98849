-- Tells whether a request fits what a window or a period has left.
-- takes: amount, cost, ends, used (as fixed.lua has them)
-- sets: stop, remaining, reset_after, retry_after, used (as fixed.lua has them; with the request where it fits)
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
