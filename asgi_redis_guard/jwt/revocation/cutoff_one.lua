-- Set a cutoff; one that is set already is never moved back, nor kept for less long.
-- takes: key, at (the cutoff in µs since the epoch, or '' for the server's now), most (ms to keep it, from now or from a cutoff that is still to come), ahead ('1' where one to come counts as now)
-- sets: micros (now), cutoff (µs), keep (ms that it is kept), is_new (false for one that was there)
local clock = redis.call('TIME')
local micros = clock[1] * 1000000 + clock[2]
local cutoff, kept = tonumber(at) or micros, redis.call('PTTL', key)
if ahead == '1' then cutoff = math.min(cutoff, micros) end
local before = tonumber(redis.call('GET', key)) or 0
if before > cutoff then cutoff = before end
local keep = math.max(most + math.max(0, math.ceil((cutoff - micros) / 1000)), kept)
redis.call('PERSIST', key) -- first what full memory does not refuse, as in revoke.lua
redis.call('SET', key, string.format('%.0f', cutoff), 'PX', string.format('%.0f', keep))
local is_new = before ~= cutoff
