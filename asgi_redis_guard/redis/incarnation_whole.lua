-- Say that a server has again what it had lost.
-- KEYS: 1 = the record of the incarnation, as in incarnation.lua
-- ARGV: 1 = the id of the incarnation that was seen as one that had lost data, or '' for any, and whatever was lost;
--       2 = what was written up to then (µs since the epoch) has been written again; 3 = and all that this process wrote
-- returns: 1 where it counts as whole now; 0 where it was, where it is another incarnation, where what was lost is newer,
--          or where some of it can be given back by nobody
local clock = redis.call('TIME')
local found = redis.call('HMGET', KEYS[1], 'id', 'lost', 'need', 'upto', 'unheld', 'until')
local upto = tonumber(ARGV[2])
if not found[1] or tonumber(found[2] or 0) == 0 then return 0 end
local names, newer = redis.call('HKEYS', KEYS[1]), tonumber(found[3] or 0)
local wrote = {}
for _, name in ipairs(names) do
  if string.sub(name, 1, 6) == 'wrote:' then
    wrote[#wrote + 1] = name
    if name ~= 'wrote:' .. ARGV[3] then newer = math.max(newer, tonumber(redis.call('HGET', KEYS[1], name))) end
  end
end
if ARGV[1] ~= '' and (ARGV[1] ~= found[1] or newer > upto or tonumber(found[5] or 0) > clock[1] * 1000) then return 0 end
redis.call('PERSIST', KEYS[1]) -- first, as in incarnation.lua; the last line says when it ends
redis.call('HSET', KEYS[1], 'lost', '0', 'upto', string.format('%.0f', math.max(tonumber(found[4] or 0), upto)))
for _, name in ipairs(wrote) do redis.call('HDEL', KEYS[1], name) end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(found[6])))
return 1
