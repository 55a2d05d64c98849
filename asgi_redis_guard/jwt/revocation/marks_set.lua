-- Mark tokens as revoked: the first half of revoke.lua, for marks of one slot of a cluster.
-- KEYS: 1 = and all others: the marks
-- ARGV: 1 = margin in ms, kept beyond each token's end; then for each mark: its end in ms since the epoch, or minus its
--       life in ms; and its value
-- returns: for each mark what it had left before, 0 if it was not there, and has now; 0 or less: none was set (ms)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local margin, reply, kept = tonumber(ARGV[1]), {}, redis.call('PTTL', KEYS[1])
redis.call('PERSIST', KEYS[1]) -- first, as in revoke.lua
if kept > 0 then redis.call('PEXPIRE', KEYS[1], kept) end
for i = 1, #KEYS do
  local key, when, value = KEYS[i], tonumber(ARGV[2 * i]), ARGV[2 * i + 1]
  -- @include mark_one.lua
  reply[#reply + 1] = before
  reply[#reply + 1] = left
end
return reply
