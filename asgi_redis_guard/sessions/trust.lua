-- Trust a device of a user.
-- KEYS: 1 = the user's devices by when trust ends (sorted set); 2 = notes on them (hash: created, last seen, name)
-- ARGV: 1 = handle; 2 = how long, ms; 3 = name; 4 = how many devices are kept; 5 = the handle it replaces, or ''
-- returns: now, when trust ends (ms by the server's clock)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends = now + ARGV[2]
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[5] ~= '' then gone[#gone + 1] = ARGV[5] end
for _, handle in ipairs(gone) do
  redis.call('ZREM', KEYS[1], handle)
  redis.call('HDEL', KEYS[2], handle)
end
redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f:%.0f:%s', now, now, ARGV[3]))
local many = redis.call('ZCARD', KEYS[1]) - ARGV[4]
if many > 0 then
  -- The one that was trusted just now stays, although others may be trusted for longer.
  for _, handle in ipairs(redis.call('ZRANGE', KEYS[1], 0, many)) do
    if handle ~= ARGV[1] and many > 0 then
      many = many - 1
      redis.call('ZREM', KEYS[1], handle)
      redis.call('HDEL', KEYS[2], handle)
    end
  end
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', last[2])) end
return {now, ends}
