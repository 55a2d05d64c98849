-- Read strings at one moment, and tell which.
-- KEYS: 1 = a key, and any number more; what is no string counts as absent
-- returns: the server's time in µs as text; then the values in the order of the keys
local clock = redis.call('TIME')
local found = redis.call('MGET', unpack(KEYS))
local told = {string.format('%.0f', clock[1] * 1000000 + clock[2])}
for i = 1, #KEYS do told[i + 1] = found[i] end
return told
