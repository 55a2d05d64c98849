-- Reads what is known of one hour.
-- KEYS: 1 = totals, 2 = busiest, 3 = refusals, 4 = labels (as tally.lua has them)
-- returns: all of the first; members and scores of the next two; all of the last; each flat, names before values
local function counts(set) return redis.call('ZRANGE', set, 0, -1, 'WITHSCORES') end
return {redis.call('HGETALL', KEYS[1]), counts(KEYS[2]), counts(KEYS[3]), redis.call('HGETALL', KEYS[4])}
