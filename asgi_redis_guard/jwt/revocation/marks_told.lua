-- Count, index and tell marks that were set: the second half of revoke.lua, on a cluster.
-- KEYS: 1 = and two more: as the first three of revoke.lua
-- ARGV: 1 = the channel on which it is told; then for each mark: the last 20 characters of its key, what it had left
--       before (0 if it was not there) and has now, in ms
-- returns: how many were not revoked before; now (µs)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local channel, set = ARGV[1], {}
redis.call('HDEL', KEYS[1], '') -- first, as in revoke.lua
for i = 2, #ARGV do set[i - 1] = ARGV[i] end
-- @include marks_tell.lua
return {added, clock[1] * 1000000 + clock[2]}
