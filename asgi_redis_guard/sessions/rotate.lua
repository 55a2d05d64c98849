-- name: sessions.rotate
-- keys: old, former, past, record, index, notes (what is replaced, its index and notes; what replaces it, its index and notes, as in sessions.create)
-- args: leaver, stood, handle, place, set, expected, lifetime, overlap, note, cap, excess, channel, rights, log (member of the former index, and where that lies, in words of the caller; the same of what replaces it; as in sessions.save; the version that is replaced, and no other; ms, empty keeps the end; ms; as in sessions.create, for a user who was not in the session before; where it is told; JSON: fields that are not for the overlap; as in sessions.create, with `mark`: what is left for a day in place of the former id once that cannot be read any more, so that its reuse is noticed)
-- keeps: times, deadline, left, older, leaving, last, what, telling
-- returns: state, version, ends, stamp, evicted, told (as in sessions.save, 2: another version, 3: too many; as in sessions.create)
-- Fields of a record that this makes: `o` what has replaced it, `w` where that lies if it is not the same user's, `p` what
-- it has replaced itself if that was the same user's. On a cluster it is for what shares a slot, which the sessions of one
-- user do; for the rest, see heir.lua and leave.lua.
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
    -- @include older.lua
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
    local stamp, stays = floor(now / 1000), former == index
    -- Where the user came in, not where the id was changed.
    local note = stays and call('HGET', past, leaver) or note
    if stays and overlap + 0 > 0 then call('HSET', record, 'p', leaver) end -- whoever ends this one ends that one too
    -- @include left.lua
    if index ~= record then
      -- @include enter.lua
    end
  end
end
if telling and not failure then
  -- @include tell.lua
  local mark = times and all.mark
  if mark then
    -- @include marked.lua
  end
end
