-- name: locks.semaphore_renew
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters)
-- args: token, ttl (ms), how (`least`: to no less than ttl; `add`: by ttl; `set`: to ttl)
-- keeps: ends
-- returns: left (ms)
-- repeatable: yes
-- @check
local score = tonumber(call('ZSCORE', lock, token) or '') or 0
if score > now then
  left = ceil((score - now) / 1000)
  if how == 'add' then
    left = left + ttl
  elseif how == 'set' or left < ttl + 0 then
    left = ttl + 0
  end
  ends = left
else
  stop = true
end
-- @commit
local longest = math.max(call('PTTL', lock) or 0, ends)
call('PEXPIRE', lock, string.format('%.0f', longest)) -- first, for after one write full memory refuses none
call('ZADD', lock, string.format('%.0f', now + ends * 1000), token)
