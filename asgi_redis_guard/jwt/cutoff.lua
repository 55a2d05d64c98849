-- Refuse all tokens of a user that were issued up to now.
-- KEYS: 1 = the user's cutoff
-- ARGV: 1 = how long to keep it, ms; 2 = the cutoff in µs since the epoch, or '' for the server's now
-- returns: the cutoff in µs; one that is set already is never moved back
local clock = redis.call('TIME')
local cutoff = tonumber(ARGV[2]) or clock[1] * 1000000 + clock[2]
local before = tonumber(redis.call('GET', KEYS[1])) or 0
if before > cutoff then cutoff = before end
redis.call('SET', KEYS[1], string.format('%.0f', cutoff), 'PX', ARGV[1])
return cutoff
