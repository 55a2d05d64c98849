-- End sessions of a user at once, and leave a mark in place of each for an hour, so that its browser can be told.
-- KEYS: 1 = the index; 2 = the notes; 3 = what the keys of the records begin with: never a key itself, so that a cluster
--       does not run this while their slot moves, when some of the records cannot be seen
-- ARGV: 1 = which: all, one, others (all but one) or device; 2 = the handle of that one, or what stands for the device;
--       the handle of a session that was replaced, as long as that can be told, means what has replaced it
-- returns: the handles of those that were alive
local call, stem = redis.call, KEYS[3]
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local meant = ARGV[2]
if ARGV[1] == 'one' or ARGV[1] == 'others' then
  while not call('ZSCORE', KEYS[1], meant) do
    local record = stem .. meant
    -- Where events are recorded, a mark leads on when the overlap is over (rotate.lua).
    local heir = call('HGET', record, 'o') or call('HGET', record .. ':replaced', 'o')
    if not heir then break end
    meant = heir
  end
end
local ended, all = {}, call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local one = all[i]
  local chosen = ARGV[1] == 'all' or (ARGV[1] == 'one') == (one == meant)
  if ARGV[1] == 'device' then
    chosen = string.sub(call('HGET', KEYS[2], one) or '', 1, #ARGV[2]) == ARGV[2]
  end
  if chosen then
    local record = stem .. one
    local found = call('HGET', record, 'm')
    -- @include overlaps.lua
    call('DEL', record)
    if found and tonumber(all[i + 1]) > now then
      call('HSET', record, 'e', 'revoked')
      call('PEXPIRE', record, 3600000)
      ended[#ended + 1] = one
    end
    call('ZREM', KEYS[1], one)
    call('HDEL', KEYS[2], one)
  end
end
return ended
