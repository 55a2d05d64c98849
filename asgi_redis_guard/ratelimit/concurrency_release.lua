-- name: ratelimit.concurrency_release
-- keys: leases (a sorted set: a member a unit, `<lease>:<unit>`, scored by when it ends, µs)
-- args: cost, lease (units; what names this lease)
-- repeatable: yes
-- @check
-- @commit
for unit = 1, cost + 0 do call('ZREM', leases, lease .. ':' .. unit) end
