-- name: sessions.rotate
-- keys: old, former, past, record, index, notes (what is replaced, its index and notes; what replaces it, its index and notes, as in sessions.create)
-- args: leaver, stood, handle, place, set, expected, lifetime, overlap, note, cap, excess, channel, rights, log (member of the former index, and where that lies, in words of the caller; the same of what replaces it; as in sessions.save; the version that is replaced, and no other; ms, empty keeps the end; ms; as in sessions.create, for a user who was not in the session before; where it is told; JSON: fields that are not for the overlap; as in sessions.create, with `mark`: what is left for a day in place of the former id once that cannot be read any more, so that its reuse is noticed)
-- keeps: times, deadline, left, leaving, last, what, telling
-- returns: state, version, ends, stamp, evicted, told (as in sessions.save, 2: another version, 3: too many; as in sessions.create)
-- Fields of a record that this makes: `o` what has replaced it, `w` where that lies if it is not the same user's, `p` what
-- it has replaced itself if that was the same user's.
-- @check
local found = call('HMGET', old, 'm', 'o')
stamp = floor(now / 1000)
-- @include times.lua
if created then
  state = 1
  if expected + 0 ~= version then
    state = 2
  elseif index ~= former then
    -- @include cap.lua
  end
  if state == 1 then
    if lifetime ~= '' then
      created, ends_at = string.format('%.0f', stamp), string.format('%.0f', stamp + lifetime)
    end
    -- @include renew.lua
    last, ends = ends_at, ends_at + 0
    left = call('PTTL', old)
  end
  if log ~= '' and (state == 1 or state == 3) then
    what, told = state == 1 and 'done' or 'denied', {}
    telling = told
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times)
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  else
    local stamp = floor(now / 1000)
    -- Where the user came in, not where the id was changed.
    local note = former == index and call('HGET', past, leaver) or note
    local function strip(key) -- leaves what leads a logout to the heir
      for _, name in ipairs(call('HKEYS', key) or {}) do
        if name ~= 'o' and name ~= 'w' and name ~= 'p' then call('HDEL', key, name) end
      end
    end
    local before = call('HGET', old, 'p')
    if before then -- to be read is the last one alone
      local older = string.sub(old, 1, #old - #leaver) .. before
      if call('EXISTS', older) == 1 then
        strip(older)
        call('HSET', older, 'w', stood)
      end
    end
    local goes_on = former == index or former == old
    if overlap + 0 > 0 then
      -- Where its user is gone, nobody is to be that user a moment longer: what is left leads a logout to the heir.
      call('HSET', old, 'o', handle)
      if goes_on then
        for _, name in ipairs(cjson.decode(rights)) do call('HDEL', old, name) end
      else
        strip(old)
      end
      if former == index then
        call('HSET', record, 'p', leaver) -- whoever ends this one ends that one too
      else
        call('HSET', old, 'w', place) -- and the other way round, also where they have not the same slot
      end
      call('PEXPIRE', old, left >= 0 and left < overlap + 0 and left or overlap)
    else
      call('DEL', old)
    end
    call('PUBLISH', channel, goes_on and leaver .. '>' .. handle or leaver)
    if former ~= old then
      call('ZREM', former, leaver)
      call('HDEL', past, leaver)
    end
    if index ~= record then
      -- @include enter.lua
    end
  end
end
if telling and not failure then
  -- @include tell.lua
  if times and all.mark then
    for name, word in pairs(all.mark) do call('HSET', old .. ':replaced', name, word) end
    call('PEXPIRE', old .. ':replaced', 86400000)
    failure = nil
  end
end
