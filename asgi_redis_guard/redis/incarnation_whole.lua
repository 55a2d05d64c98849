-- Say that a server has again what it had lost.
-- KEYS: 1 = the record of the incarnation, as in incarnation.lua
-- ARGV: 1 = the id of the incarnation that was seen as one that had lost data, or '' for any; 2 = what was written up to
--       then (ms since the epoch) has been written again
-- returns: 1 where it counts as whole now; 0 where it was, where it is another incarnation, where what was lost is newer,
--          or where some of it can be given back by nobody
local found = redis.call('HMGET', KEYS[1], 'id', 'lost', 'need', 'upto', 'apart')
if not found[1] or (ARGV[1] ~= '' and ARGV[1] ~= found[1]) then return 0 end
if tonumber(found[2] or 0) == 0 or tonumber(found[3] or 0) > tonumber(ARGV[2]) then return 0 end
local clock = redis.call('TIME')
if ARGV[1] ~= '' and tonumber(found[5] or 0) > clock[1] * 1000 then return 0 end
redis.call('PERSIST', KEYS[1]) -- first, as in incarnation.lua; the next line says when it ends
local ends = tonumber(redis.call('HGET', KEYS[1], 'until'))
redis.call('HSET', KEYS[1], 'lost', '0', 'upto', string.format('%.0f', math.max(tonumber(found[4] or 0), ARGV[2])))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', ends))
return 1
