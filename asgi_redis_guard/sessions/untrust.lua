-- Trust some devices of a user no longer, or all but one.
-- KEYS: 1 = the user's devices by when trust ends (sorted set); 2 = notes on them (hash)
-- ARGV: 1 = the handle that stays, or ''; 2… = handles, none for all
-- returns: the handles of those that were trusted
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local gone, ended = {}, {}
for i = 2, #ARGV do gone[#gone + 1] = ARGV[i] end
if #ARGV < 2 then gone = redis.call('ZRANGE', KEYS[1], 0, -1) end
for _, handle in ipairs(gone) do
  if handle ~= ARGV[1] then
    local ends = redis.call('ZSCORE', KEYS[1], handle)
    if ends and tonumber(ends) > now then ended[#ended + 1] = handle end
    redis.call('ZREM', KEYS[1], handle)
    redis.call('HDEL', KEYS[2], handle)
  end
end
return ended
