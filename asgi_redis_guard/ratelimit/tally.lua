-- name: ratelimit.tally
-- keys: totals, busiest, refusals, labels (a hash; sorted sets of identities by requests, and by refusals; a hash)
-- args: who, label, hidden, most, life (an identity; what it is called, or empty; refusals not told yet; identities; ms)
-- repeatable: yes
-- @check
-- @commit
local denied = hidden + (refused and 1 or 0)
local seen = denied + (refused and 0 or 1)
-- @include heavy.lua
if not refused then call('HINCRBY', totals, 'allowed', 1) end
if denied > 0 then
  call('HINCRBY', totals, 'denied', denied)
  heavy(refusals, who, denied)
end
heavy(busiest, who, seen)
if label ~= '' then
  call('HSET', labels, who, label)
  call('PEXPIRE', labels, life)
end
call('PEXPIRE', totals, life)
