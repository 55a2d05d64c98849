-- Index marks and cutoffs that were there before the first mirror.
-- KEYS: 1 = the counts by hour of expiry (hash), which the index of marks stands beside;
--       2 = the index of cutoffs (zset, by their ends); 3… = the marks, then the cutoffs
-- ARGV: 1 = how many marks
-- returns: how many were there still
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found, longest = 0, 0
for i = 3, #KEYS do
  local left, word = redis.call('PTTL', KEYS[i]), string.sub(KEYS[i], -20)
  if left > 0 then
    found = found + 1
    if i - 2 <= tonumber(ARGV[1]) then
      local hour = math.floor((now + left) / 3600000)
      redis.call('SADD', KEYS[1] .. ':' .. hour, word)
      redis.call('PEXPIREAT', KEYS[1] .. ':' .. hour, string.format('%.0f', (hour + 2) * 3600000))
    else
      redis.call('ZADD', KEYS[2], string.format('%.0f', now + left), word)
      if left > longest then longest = left end
    end
  end
end
if longest > 0 and redis.call('PTTL', KEYS[2]) < longest then
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', longest))
end
return found
