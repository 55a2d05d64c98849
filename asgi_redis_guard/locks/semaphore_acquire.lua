-- name: locks.semaphore_acquire
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters), fence (the last given)
-- args: token, ttl (ms), memory (ms that the fence is remembered), permits (how many may hold it at once)
-- keeps: given, again
-- returns: number (the fence of this holder), left (ms until the first time is up)
-- repeatable: yes
-- holds: yes
-- undo: semaphore_undo.lua (token)
-- @check
local live = string.format('(%.0f', now)
again = (tonumber(call('ZSCORE', lock, token) or '') or 0) > now -- the reply was lost
if again or (call('ZCOUNT', lock, live, '(9000000000000000') or 0) < permits + 0 then
  local last = tonumber(call('GET', fence) or '') or 0
  number = last >= now and last < 9000000000000000 and last + 1 or now -- garbage is none
  given = string.format('%016.0f', number)
else
  stop = true
  local first = call('ZRANGEBYSCORE', lock, live, '(9000000000000000', 'WITHSCORES', 'LIMIT', 0, 1)
  left = first and first[2] and ceil((first[2] - now) / 1000) or 0
end
-- @commit
local longest = string.format('%.0f', math.max(call('PTTL', lock) or 0, ttl + 0)) -- others may hold it for longer
if again then call('PEXPIRE', lock, longest) end -- after one write full memory refuses none
if call('SET', fence, given, 'PX', memory) then -- were this refused, the removal would be such a write
  call('ZREMRANGEBYSCORE', lock, '-inf', string.format('%.0f', now))
  call('ZADD', lock, string.format('%.0f', now + ttl * 1000), token)
  call('PEXPIRE', lock, longest)
end
