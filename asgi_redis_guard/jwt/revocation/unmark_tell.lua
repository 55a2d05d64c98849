-- Uncount a mark that was taken back, take it out of the index, tell mirrors.
-- takes: KEYS[1] (the counts), KEYS[2], KEYS[3] (as announce.lua), words (the last 20 characters of its key), left (ms that it had)
-- sets: nothing that others need
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if left > 0 then
  local hour = math.floor((now + left) / 3600000)
  if redis.call('HINCRBY', KEYS[1], hour, -1) < 1 then redis.call('HDEL', KEYS[1], hour) end
  for other = hour - 1, hour + 1 do redis.call('SREM', KEYS[1] .. ':' .. other, words) end
end
local state, what = redis.call('HMGET', KEYS[2], 'epoch', 'last'), 'unmark'
-- @include announce.lua
