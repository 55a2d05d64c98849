-- Uncount and tell a mark that was taken back: the second half of unrevoke.lua, on a cluster.
-- KEYS: 1 = and two more: as the first three of unrevoke.lua
-- ARGV: 1 = the last 20 characters of the mark's key; 2 = ms that it had left
-- returns: 1
local words, left = ARGV[1], tonumber(ARGV[2])
-- @include unmark_tell.lua
return 1
