-- name: ratelimit.concurrency_renew
-- keys: leases (a sorted set: a member a unit, `<lease>:<unit>`, scored by when it ends, µs)
-- args: ttl, cost, lease (µs; units; what names this lease)
-- repeatable: yes
-- @check
if (tonumber(call('ZSCORE', leases, lease .. ':1')) or 0) <= now then stop = true end
-- @commit
local ends = string.format('%.0f', now + ttl)
for unit = 1, cost + 0 do call('ZADD', leases, ends, lease .. ':' .. unit) end
local left = ceil(ttl / 1000)
if (call('PTTL', leases) or 0) < left then call('PEXPIRE', leases, left) end
