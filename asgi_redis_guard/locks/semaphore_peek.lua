-- name: locks.semaphore_peek
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters)
-- args: token
-- repeatable: yes
-- returns: state (how many hold it), left (ms of this token; 0 if it does not)
-- @check
state = call('ZCOUNT', lock, string.format('(%.0f', now), '(9000000000000000') or 0
local score = tonumber(call('ZSCORE', lock, token) or '') or 0
if score > now then left = ceil((score - now) / 1000) end
-- @commit
