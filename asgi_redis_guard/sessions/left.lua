-- Let a session give way to what has replaced it.
-- takes: old, former, past, leaver, stood, handle, place, overlap, channel, rights (as in sessions.rotate), stays (true where what has replaced it is the same user's), left (ms that it would have lived), older (as in older.lua)
-- sets: given (true where it has; where its first write fails, memory being full, nothing is written)
local goes_on = stays or former == old
local function strip(key) -- leaves what leads a logout to the heir
  for _, name in ipairs(call('HKEYS', key) or {}) do
    if name ~= 'o' and name ~= 'w' and name ~= 'p' then call('HDEL', key, name) end
  end
end
if overlap + 0 <= 0 then
  call('DEL', old)
elseif stays then
  call('HSET', old, 'o', handle)
else
  call('HSET', old, 'o', handle, 'w', place)
end
local given = not failure
if given then
  if overlap + 0 > 0 then
    -- Where its user is gone, nobody is to be that user a moment longer: what is left leads a logout to the heir.
    if goes_on then
      for _, name in ipairs(cjson.decode(rights)) do call('HDEL', old, name) end
    else
      strip(old)
    end
    call('PEXPIRE', old, left >= 0 and left < overlap + 0 and left or overlap)
  end
  if older then -- to be read is the last one alone
    strip(older)
    call('HSET', older, 'w', stood)
  end
  call('PUBLISH', channel, goes_on and leaver .. '>' .. handle or leaver)
  if former ~= old then
    call('ZREM', former, leaver)
    call('HDEL', past, leaver)
  end
end
