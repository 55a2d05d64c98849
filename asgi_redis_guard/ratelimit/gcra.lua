-- name: ratelimit.gcra
-- keys: cell (a string: the theoretical arrival time, µs)
-- args: emission, tolerance, cost (µs per unit; µs, emission times burst; units)
-- keeps: tat
-- group: limits
-- repeatable: yes
-- undo: gcra_settle.lua (emission, now, cost, 0)
-- returns: remaining, reset_after, retry_after (units left; µs until the burst is whole; µs until this fits, 0 if it does)
-- @check
tat = tonumber(call('GET', cell))
if not tat or tat < now then tat = now end
local after = tat + emission * cost
if after > now + tolerance then
  stop = true
  retry_after = after - tolerance - now
  if retry_after > 9007199254740991 then retry_after = 9007199254740991 end -- replies are integers
else
  tat = after
end
reset_after = tat - now
remaining = floor((tolerance - reset_after) / emission)
if remaining < 0 then remaining = 0 end
-- @commit
if cost + 0 > 0 then call('SET', cell, tat, 'PX', ceil((tat - now) / 1000)) end
