-- Count sessions and users that are alive, and what began and ended in each hour of the last seven days.
-- KEYS: 1 = sessions by when they end; 2 = users by when their last session does; 3 = b and e with an hour: begun, ended
-- returns: sessions, users, then name and count in turn (as in KEYS 3; hours since the epoch)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stamp, oldest = string.format('%.0f', now), math.floor(now / 3600000) - 168
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', stamp, 'WITHSCORES', 'LIMIT', 0, 5000)
for i = 1, #over, 2 do
  redis.call('ZREM', KEYS[1], over[i])
  redis.call('HINCRBY', KEYS[3], string.format('e%.0f', math.floor(over[i + 1] / 3600000)), 1)
end
if #over > 0 then redis.call('PEXPIRE', KEYS[3], 604800000) end
local counts = { redis.call('ZCOUNT', KEYS[1], '(' .. stamp, '+inf'), redis.call('ZCOUNT', KEYS[2], '(' .. stamp, '+inf') }
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  if tonumber(string.sub(all[i], 2)) > oldest then
    counts[#counts + 1] = all[i]
    counts[#counts + 1] = tonumber(all[i + 1])
  end
end
return counts
