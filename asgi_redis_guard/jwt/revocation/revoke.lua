-- Mark tokens as revoked, for what is left of their lives.
-- KEYS: 1 = the counts by hour of expiry (hash), which the index stands beside; 2 = the mirrors' state (hash);
--       3 = their stream; 4 = the record of the server's incarnation (redis/incarnation.lua); 5… = the marks
-- ARGV: 1 = margin in ms, kept beyond each token's end; 2 = the channel on which it is told;
--       then for each mark: its end in ms since the epoch, or minus its life in ms; and its value
-- returns: how many were not revoked before; now (µs); the incarnation, '' where none is known
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local margin, channel, set = tonumber(ARGV[1]), ARGV[2], {}
redis.call('HDEL', KEYS[1], '') -- first what full memory does not refuse: what a script writes after that is not either
for i = 5, #KEYS do
  local key, when, value = KEYS[i], tonumber(ARGV[2 * i - 7]), ARGV[2 * i - 6]
  -- @include mark_one.lua
  if left > 0 then
    set[#set + 1] = string.sub(key, -20)
    set[#set + 1] = before
    set[#set + 1] = left
  end
end
-- @include marks_tell.lua
return {added, clock[1] * 1000000 + clock[2], redis.call('HGET', KEYS[4], 'id') or ''}
