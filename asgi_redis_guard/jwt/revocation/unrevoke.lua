-- Take back the revocation of one token.
-- KEYS: 1 = the counts by hour of expiry (hash), which the index stands beside; 2 = the mirrors' state (hash);
--       3 = their stream; 4 = the mark
-- returns: 1 if it was revoked, else 0
local left, words = redis.call('PTTL', KEYS[4]), string.sub(KEYS[4], -20)
if redis.call('DEL', KEYS[4]) == 0 then return 0 end
-- @include unmark_tell.lua
return 1
