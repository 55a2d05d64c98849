-- Bans an identity from now on, whatever it has done; how often it was banned before stays known.
-- KEYS: 1 = strikes (as ban.lua has it)
-- ARGV: 1 = how long the ban lasts (µs), 2 = how long it is known of after that (µs)
-- returns: when the ban ends (µs)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local _, level = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(%d+):')
local ends = now + ARGV[1]
local text = string.format('%.0f:%.0f:0:%.0f', ends, (tonumber(level) or 0) + 1, now)
redis.call('SET', KEYS[1], text, 'PX', math.ceil((ARGV[1] + ARGV[2]) / 1000))
return string.format('%.0f', ends)
