-- List the devices that a user trusts, and forget those whose trust has ended.
-- KEYS: 1 = the user's devices by when trust ends (sorted set); 2 = notes on them (hash: created, last seen, name)
-- returns: handle, when trust ends, created, last seen, name, handle … (ms by the server's clock)
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for _, handle in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], handle)
  redis.call('HDEL', KEYS[2], handle)
end
local all, found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {}
for i = 1, #all, 2 do
  local created, seen, name = string.match(redis.call('HGET', KEYS[2], all[i]) or '', '^(%d+):(%d+):(.*)$')
  if created then
    for _, value in ipairs({all[i], tonumber(all[i + 1]), tonumber(created), tonumber(seen), name}) do
      found[#found + 1] = value
    end
  end
end
return found
