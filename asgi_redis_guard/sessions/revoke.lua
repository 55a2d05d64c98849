-- End sessions of a user at once, and leave a mark in place of each for an hour, so that its browser can be told.
-- KEYS: 1 = the index; 2 = the notes; 3 = what the keys of the records begin with
-- ARGV: 1 = which: all, one, others (all but one) or device; 2 = the handle of that one, or what stands for the device
-- returns: when the last of the others ends, ms since the epoch, 0 if there is none; the handles of those that were alive
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ended, left, all = {}, 0, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local handle = all[i]
  local chosen = ARGV[1] == 'all' or (ARGV[1] == 'one') == (handle == ARGV[2])
  if ARGV[1] == 'device' then
    chosen = string.sub(redis.call('HGET', KEYS[2], handle) or '', 1, #ARGV[2]) == ARGV[2]
  end
  if chosen then
    local record = KEYS[3] .. handle
    local found = redis.call('HMGET', record, 'm', 'p')
    local before = found[2]
    while before do -- what it replaced can be read for its overlap
      local older = KEYS[3] .. before
      before = redis.call('HGET', older, 'p')
      redis.call('DEL', older)
    end
    redis.call('DEL', record)
    if found[1] and tonumber(all[i + 1]) > now then
      redis.call('HSET', record, 'e', 'revoked')
      redis.call('PEXPIRE', record, 3600000)
      ended[#ended + 1] = handle
    end
    redis.call('ZREM', KEYS[1], handle)
    redis.call('HDEL', KEYS[2], handle)
  elseif tonumber(all[i + 1]) > now then
    left = tonumber(all[i + 1]) -- they are in this order
  end
end
return { left, ended }
