-- Index a cutoff for mirrors, tell those and whoever holds something open.
-- takes: KEYS[1] (the index), KEYS[2], KEYS[3] (as announce.lua), word (the last 20 characters of its key), cutoff (µs), keep (ms), is_new, channel, now (ms)
-- sets: nothing that others need
local state = redis.call('HMGET', KEYS[2], 'epoch', 'last')
-- One that is there already was told, or anybody who may log out could fill the stream with it.
local what, words = 'cutoff', ''
if state[1] then
  if is_new or not redis.call('ZSCORE', KEYS[1], word) then words = word .. ' ' .. string.format('%.0f', cutoff) end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + keep), word)
  if redis.call('PTTL', KEYS[1]) < keep then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep)) end
end
-- @include announce.lua
if is_new then redis.pcall('PUBLISH', channel, word) end
