-- List a user's sessions that are alive, and forget the others.
-- KEYS: 1 = the index; 2 = the notes; 3 = what the keys of the records begin with: never a key itself, so that a cluster
--       does not run this while their slot moves, when some of the records cannot be seen
-- returns: handle, end (ms since the epoch), times, note, for each in turn; the note is '' where there is none
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local alive, all = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local times = tonumber(all[i + 1]) > now and redis.call('HGET', KEYS[3] .. all[i], 'm')
  if times then
    local note = redis.call('HGET', KEYS[2], all[i]) or ''
    for _, word in ipairs({ all[i], all[i + 1], times, note }) do alive[#alive + 1] = word end
  else
    redis.call('ZREM', KEYS[1], all[i])
    redis.call('HDEL', KEYS[2], all[i])
  end
end
return alive
