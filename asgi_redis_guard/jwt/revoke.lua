-- Mark tokens as revoked, for what is left of their lives.
-- KEYS: 1 = the counts by hour of expiry (hash); 2… = the marks
-- ARGV: 1 = margin in ms, kept beyond each token's end;
--       then for each mark: its end in ms since the epoch, or minus its life in ms; and its value
-- returns: how many were not revoked before
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local margin, added, last = tonumber(ARGV[1]), 0, 0
for i = 2, #KEYS do
  local when, value = tonumber(ARGV[2 * i - 2]), ARGV[2 * i - 1]
  local left = (when < 0 and -when or when - now) + margin
  if left > 0 then
    local before = redis.call('PTTL', KEYS[i])
    if left < before then left = before end
    redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', left))
    if before > 0 then
      local hour = math.floor((now + before) / 3600000)
      if redis.call('HINCRBY', KEYS[1], hour, -1) < 1 then redis.call('HDEL', KEYS[1], hour) end
    else
      added = added + 1
    end
    redis.call('HINCRBY', KEYS[1], math.floor((now + left) / 3600000), 1)
    if left > last then last = left end
  end
end
-- The counts live an hour longer than the last mark.
if last > 0 and redis.call('PTTL', KEYS[1]) < last + 3600000 then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last + 3600000))
end
return added
