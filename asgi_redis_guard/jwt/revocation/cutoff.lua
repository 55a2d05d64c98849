-- Refuse all tokens of a user, or of everybody, that were issued up to now; or those of generations up to one.
-- KEYS: 1 = the index of cutoffs (zset, by their ends); 2 = the mirrors' state (hash); 3 = their stream;
--       4 = the cutoff
-- ARGV: 1 = how long to keep it, ms from now or from a cutoff that is still to come;
--       2 = the cutoff in µs since the epoch, or '' for the server's now; 3 = the channel on which it is told;
--       4 = '1' where one to come counts as now
-- returns: the cutoff in µs; one that is set already is never moved back, nor kept for less long
local clock = redis.call('TIME')
local micros = clock[1] * 1000000 + clock[2]
local now = math.floor(micros / 1000)
redis.call('ZREM', KEYS[1], '') -- first, as in revoke.lua
local cutoff = tonumber(ARGV[2]) or micros
if ARGV[4] == '1' then cutoff = math.min(cutoff, micros) end
local before = tonumber(redis.call('GET', KEYS[4])) or 0
if before > cutoff then cutoff = before end
local keep = ARGV[1] + math.max(0, math.ceil((cutoff - micros) / 1000))
keep = math.max(keep, redis.call('PTTL', KEYS[4]))
local text = string.format('%.0f', cutoff)
redis.call('SET', KEYS[4], text, 'PX', string.format('%.0f', keep))
local state = redis.call('HMGET', KEYS[2], 'epoch', 'last')
-- One that is there already was told, or anybody who may log out could fill the stream with it.
local what, words = 'cutoff', before == cutoff and '' or string.sub(KEYS[4], -20) .. ' ' .. text
if state[1] then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + keep), string.sub(KEYS[4], -20))
  if redis.call('PTTL', KEYS[1]) < keep then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep)) end
end
-- @include announce.lua
if words ~= '' then redis.pcall('PUBLISH', ARGV[3], string.sub(KEYS[4], -20)) end
return cutoff
