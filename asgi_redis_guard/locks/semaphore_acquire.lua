-- name: locks.semaphore_acquire
-- keys: lock (a sorted set: tokens by when their time is up, µs; a mark of waiters far beyond), fence (the last given)
-- args: token, ttl (ms), memory (ms that the fence is remembered), permits (how many may hold it at once)
-- keeps: given
-- returns: number (the fence of this holder), left (ms until the first time is up)
-- repeatable: yes
-- holds: yes
-- @check
local live = string.format('(%.0f', now)
local held = call('ZCOUNT', lock, live, '(9000000000000000') or 0
if (tonumber(call('ZSCORE', lock, token) or '') or 0) > now then held = held - 1 end -- asked again: the reply was lost
if held < permits + 0 then
  local last = tonumber(call('GET', fence) or '') or 0
  number = now > last and now or last + 1
  given = string.format('%016.0f', number)
else
  stop = true
  local first = call('ZRANGEBYSCORE', lock, live, '(9000000000000000', 'WITHSCORES', 'LIMIT', 0, 1)
  left = first and first[2] and ceil((first[2] - now) / 1000) or 0
end
-- @commit
call('SET', fence, given, 'PX', memory)
call('ZREMRANGEBYSCORE', lock, '-inf', string.format('%.0f', now))
call('ZADD', lock, string.format('%.0f', now + ttl * 1000), token)
if (call('PTTL', lock) or 0) < ttl + 0 then call('PEXPIRE', lock, ttl) end -- others may hold it for longer
