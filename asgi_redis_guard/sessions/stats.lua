-- Count sessions and users that are alive, and what began and ended in each hour of the last seven days.
-- KEYS: 1 = sessions by when they end; 2 = users with how many of those are theirs; 3 = b and e with an hour: begun, ended
-- returns: 1 if there is more to take off first, 0 if this is all; sessions, users, then name and count in turn (as in KEYS 3; hours since the epoch)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = math.floor(now / 3600000) - 168
-- Users are counted by what is taken off, so all that has ended must be; never so much at a time that others wait for it.
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, 5000)
for i = 1, #over, 2 do
  redis.call('ZREM', KEYS[1], over[i])
  local user = string.match(over[i], ':(.+)$')
  if user and redis.call('HINCRBY', KEYS[2], user, -1) < 1 then redis.call('HDEL', KEYS[2], user) end
  redis.call('HINCRBY', KEYS[3], string.format('e%.0f', math.floor(over[i + 1] / 3600000)), 1)
end
if #over > 0 then redis.call('PEXPIRE', KEYS[3], 604800000) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end -- all have ended without anybody looking
local counts = { #over == 10000 and 1 or 0, redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2]) }
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  if tonumber(string.sub(all[i], 2)) > oldest then
    counts[#counts + 1] = all[i]
    counts[#counts + 1] = tonumber(all[i + 1])
  end
end
return counts
