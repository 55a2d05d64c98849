-- name: locks.semaphore_attend
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters)
-- args: token
-- repeatable: yes
-- @check
-- As locks.attend.
if (call('ZCARD', lock) or 0) > 0 and (tonumber(call('ZSCORE', lock, token) or '') or 0) <= now then
  call('ZADD', lock, '9000000000000000', '') -- who releases it says so
end
