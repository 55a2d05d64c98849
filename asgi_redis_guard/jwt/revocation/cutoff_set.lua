-- Set a cutoff: the first half of cutoff.lua, on a cluster.
-- KEYS: 1 = the cutoff
-- ARGV: as those of cutoff.lua
-- returns: the cutoff in µs; ms that it is kept; 1 if it was not there
local key, most, at, ahead = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
-- @include cutoff_one.lua
return {cutoff, keep, is_new and 1 or 0}
