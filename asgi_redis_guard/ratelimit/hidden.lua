-- name: ratelimit.hidden
-- keys: totals, busiest, refusals, labels (as tally.lua has them)
-- args: counts, most, life (identities and how many refusals nobody asked about, `who count` by spaces; identities; ms)
-- @check
-- @commit
-- @include heavy.lua
for who, count in string.gmatch(counts, '(%S+) (%d+)') do
  count = tonumber(count)
  call('HINCRBY', totals, 'denied', count)
  heavy(refusals, who, count)
  heavy(busiest, who, count)
end
call('PEXPIRE', totals, life)
