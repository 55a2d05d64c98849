-- Take back the revocation of one token.
-- KEYS: 1 = the counts by hour of expiry (hash), which the index stands beside; 2 = the mirrors' state (hash);
--       3 = their stream; 4 = the mark
-- returns: 1 if it was revoked, else 0
local left = redis.call('PTTL', KEYS[4])
if redis.call('DEL', KEYS[4]) == 0 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local words = string.sub(KEYS[4], -20)
if left > 0 then
  local hour = math.floor((now + left) / 3600000)
  if redis.call('HINCRBY', KEYS[1], hour, -1) < 1 then redis.call('HDEL', KEYS[1], hour) end
  for other = hour - 1, hour + 1 do redis.call('SREM', KEYS[1] .. ':' .. other, words) end
end
local state, what = redis.call('HMGET', KEYS[2], 'epoch', 'last'), 'unmark'
-- @include announce.lua
return 1
