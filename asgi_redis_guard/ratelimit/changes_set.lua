-- Puts limits in the place of those of a rule.
-- KEYS: 1 = changes (as changes.lua has it)
-- ARGV: 1 = the rule, 2 = limits as they are written, empty for none, 3 = how long changes are kept (ms)
-- returns: 1
local rule, limits, life = ARGV[1], ARGV[2], ARGV[3]
redis.call('HSET', KEYS[1], rule, limits)
return redis.call('PEXPIRE', KEYS[1], life)
