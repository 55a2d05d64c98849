-- Write a key once more without changing it, so that WAIT behind it waits for what was written before.
-- KEYS: 1 = the key
-- ARGV: 1 = ms since the epoch from which on it need not be there
-- returns: 1, or 0 where it should be there and is not: a server that has taken over may not have got it
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('PEXPIRE', KEYS[1], left)
  return 1
end
local clock = redis.call('TIME')
return clock[1] * 1000 + clock[2] / 1000 >= tonumber(ARGV[1]) and 1 or 0
