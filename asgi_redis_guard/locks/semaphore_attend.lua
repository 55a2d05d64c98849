-- name: locks.semaphore_attend
-- keys: lock (a sorted set: tokens by when their time is up, µs; a mark of waiters far beyond)
-- args: token
-- keeps: full
-- repeatable: yes
-- @check
full = (call('ZCARD', lock) or 0) > 0 and not call('ZSCORE', lock, token)
-- @commit
if full then call('ZADD', lock, '9000000000000000', 'waiters') end -- who releases it says so
