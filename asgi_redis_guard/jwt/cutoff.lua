-- Refuse all tokens of a user that were issued up to now.
-- KEYS: 1 = the user's cutoff
-- ARGV: 1 = how long to keep it, ms from now or from a cutoff that is still to come;
--       2 = the cutoff in µs since the epoch, or '' for the server's now
-- returns: the cutoff in µs; one that is set already is never moved back
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local cutoff = tonumber(ARGV[2]) or now
local before = tonumber(redis.call('GET', KEYS[1])) or 0
if before > cutoff then cutoff = before end
local keep = ARGV[1] + math.max(0, math.ceil((cutoff - now) / 1000))
redis.call('SET', KEYS[1], string.format('%.0f', cutoff), 'PX', string.format('%.0f', keep))
return cutoff
