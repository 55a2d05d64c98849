-- Take back the revocation of one token.
-- KEYS: 1 = the counts by hour of expiry (hash); 2 = the mark
-- returns: 1 if it was revoked, else 0
local left = redis.call('PTTL', KEYS[2])
if redis.call('DEL', KEYS[2]) == 0 then return 0 end
if left > 0 then
  local clock = redis.call('TIME')
  local hour = math.floor((clock[1] * 1000 + math.floor(clock[2] / 1000) + left) / 3600000)
  if redis.call('HINCRBY', KEYS[1], hour, -1) < 1 then redis.call('HDEL', KEYS[1], hour) end
end
return 1
