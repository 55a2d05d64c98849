-- Take back the revocation of one token: the first half of unrevoke.lua, on a cluster.
-- KEYS: 1 = the mark
-- returns: ms that it had left, 0 if it was not there
local left = redis.call('PTTL', KEYS[1])
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
return math.max(1, left)
