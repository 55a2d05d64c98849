-- Read a user's security events, newest first.
-- KEYS: 1 = the events (stream)
-- ARGV: 1 = the earliest time, ms; 2 = where to begin: an id, or '(' and an id that is left out, or '+';
--       3 = how many at most; 4 = how long events are kept, ms; 5… = the kinds that are wanted, none for all
-- returns: id, kind, details, id, kind, details …
local clock = redis.call('TIME')
local first = math.max(tonumber(ARGV[1]), clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[4], 0)
local wanted, found = {}, {}
for i = 5, #ARGV do wanted[ARGV[i]] = true end
local till, most = ARGV[2], 3 * ARGV[3]
local size = #ARGV < 5 and tonumber(ARGV[3]) or 100
repeat
  local batch = redis.call('XREVRANGE', KEYS[1], till, string.format('%.0f', first), 'COUNT', size)
  for _, event in ipairs(batch) do
    local fields = event[2]
    if #found < most and (#ARGV < 5 or wanted[fields[2]]) then
      found[#found + 1] = event[1]
      found[#found + 1] = fields[2]
      found[#found + 1] = fields[4]
    end
  end
  if #batch > 0 then till = '(' .. batch[#batch][1] end
until #batch < size or #found >= most
return found
