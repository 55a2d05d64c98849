-- Count the revoked tokens by hour of expiry, and forget the hours that are over.
-- KEYS: 1 = the counts by hour of expiry (hash)
-- returns: hour, count, hour, count … (hours since the epoch)
local clock = redis.call('TIME')
local this_hour = math.floor(clock[1] / 3600)
local pairs_left, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(all[i]) < this_hour then
    redis.call('HDEL', KEYS[1], all[i])
  else
    pairs_left[#pairs_left + 1] = tonumber(all[i])
    pairs_left[#pairs_left + 1] = tonumber(all[i + 1])
  end
end
return pairs_left
