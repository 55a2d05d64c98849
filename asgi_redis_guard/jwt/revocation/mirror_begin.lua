-- Say where a mirror of the blacklist begins; from the first on, everything is indexed and told on their stream.
-- KEYS: 1 = the counts by hour of expiry (hash); 2 = the mirrors' state (hash); 3 = their stream
-- ARGV: 1 = how long they are reckoned with, in ms;
--       2 = the epoch in which what was there before it has been indexed, or ''
-- returns: epoch, last entry of the stream, now in ms, 1 if all is indexed, hour, count, hour, count …
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[2], 'epoch', clock[1] .. '.' .. clock[2], 'last', '0-0', 'indexed', '')
end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if epoch == ARGV[2] then redis.call('HSET', KEYS[2], 'indexed', '1') end
local state = redis.call('HMGET', KEYS[2], 'last', 'indexed')
local reply = {epoch, state[1] or '0-0', now, state[2] == '1' and 1 or 0}
for _, word in ipairs(redis.call('HGETALL', KEYS[1])) do reply[#reply + 1] = word end
return reply
