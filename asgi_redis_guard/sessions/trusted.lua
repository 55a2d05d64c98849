-- Look for a device among those that a user trusts, and note that it was seen.
-- KEYS: 1 = the user's devices by when trust ends (sorted set); 2 = notes on them (hash: created, last seen, name)
-- ARGV: 1 = handle
-- returns: when trust ends, created, last seen, name (ms by the server's clock); nothing if it is not trusted
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends, note = redis.call('ZSCORE', KEYS[1], ARGV[1]), redis.call('HGET', KEYS[2], ARGV[1])
if not ends or not note or tonumber(ends) <= now then return {} end
local created, name = string.match(note, '^(%d+):%d+:(.*)$')
redis.call('HSET', KEYS[2], ARGV[1], string.format('%s:%.0f:%s', created, now, name))
return {tonumber(ends), tonumber(created), now, name}
