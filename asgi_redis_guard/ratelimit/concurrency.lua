-- name: ratelimit.concurrency
-- keys: leases (a sorted set: a member a unit, `<lease>:<unit>`, scored by when it ends, µs)
-- args: amount, ttl, cost, lease (units; µs; units; what names this lease, the same when it is asked again)
-- group: limits
-- repeatable: yes
-- undo: concurrency_release.lua (cost, lease)
-- holds: yes
-- returns: remaining, reset_after, retry_after (units left; µs until all could have ended; µs until this could fit, or 0)
-- @check
local live = string.format('(%.0f', now)
local count = call('ZCOUNT', leases, live, '+inf') or 0
if count > 0 and (tonumber(call('ZSCORE', leases, lease .. ':1')) or 0) > now then count = count - cost end -- again
remaining = amount - count
if remaining < cost + 0 then
  stop = true
  local last = count > 0 and call('ZREVRANGE', leases, 0, 0, 'WITHSCORES')
  local nth = call('ZRANGEBYSCORE', leases, live, '+inf', 'WITHSCORES', 'LIMIT', cost - remaining - 1, 1)
  reset_after = last and last[2] and last[2] - now or 0
  retry_after = nth and nth[2] and nth[2] - now or ttl + 0
  if remaining < 0 then remaining = 0 end
else
  remaining = remaining - cost
  reset_after = ttl + 0
end
-- @commit
if cost + 0 > 0 then
  local ends = string.format('%.0f', now + ttl)
  call('ZREMRANGEBYSCORE', leases, '-inf', string.format('%.0f', now))
  for unit = 1, cost + 0 do call('ZADD', leases, ends, lease .. ':' .. unit) end
  local left = ceil(ttl / 1000)
  if (call('PTTL', leases) or 0) < left then call('PEXPIRE', leases, left) end -- others may be held for longer
end
