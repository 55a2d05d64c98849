-- Index and tell a cutoff: the second half of cutoff.lua, on a cluster.
-- KEYS: 1 = and two more: as the first three of cutoff.lua
-- ARGV: 1 = the last 20 characters of its key; 2 = the cutoff in µs; 3 = ms that it is kept; 4 = 1 if it was not there;
--       5 = the channel on which it is told
-- returns: now in µs
local word, cutoff, keep, is_new, channel = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- @include cutoff_tell.lua
return clock[1] * 1000000 + clock[2]
