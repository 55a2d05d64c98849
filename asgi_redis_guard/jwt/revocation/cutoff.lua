-- Refuse all tokens of a user, or of everybody, that were issued up to now; or those of generations up to one.
-- KEYS: 1 = the index of cutoffs (zset, by their ends); 2 = the mirrors' state (hash); 3 = their stream;
--       4 = the cutoff; 5 = the record of the server's incarnation (redis/incarnation.lua)
-- ARGV: 1 = how long to keep it, ms from now or from a cutoff that is still to come;
--       2 = the cutoff in µs since the epoch, or '' for the server's now; 3 = the channel on which it is told;
--       4 = '1' where one to come counts as now
-- returns: the cutoff in µs (one that is set already is never moved back, nor kept for less long); now in µs, 0 where it
--          was there; the incarnation, '' where none is known
local key, most, at, channel, ahead = KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- @include cutoff_one.lua
local word, now = string.sub(key, -20), math.floor(micros / 1000)
-- @include cutoff_tell.lua
return {cutoff, is_new and micros or 0, redis.call('HGET', KEYS[5], 'id') or ''}
