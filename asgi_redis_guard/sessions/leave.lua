-- name: sessions.leave
-- keys: old, former, past (as in sessions.rotate)
-- args: leaver, stood, handle, place, expected, overlap, channel, rights, log, mark (as in sessions.rotate; the mark as JSON, empty for none)
-- keeps: left, older, telling
-- returns: state, version, told (as in sessions.rotate)
-- repeatable: yes
-- Lets a session give way to one of another slot, which is there (heir.lua).
-- @check
local found = call('HMGET', old, 'm', 'o')
-- @include times.lua
if created then
  state = 2
  if expected + 0 == version then
    state = 1
    left = call('PTTL', old)
    -- @include older.lua
    if log ~= '' then
      told = {}
      telling = told
    end
  end
elseif found and found[2] == handle then
  state = 1 -- it was done, and the reply was lost: what it told is not told again
end
-- @commit
if left then
  local stays = false
  -- @include left.lua
  if given then
    failure = nil -- who has made the heir must know that it stands, whatever else failed
    if telling then
      local what, leaving = 'done', nil
      -- @include tell.lua
    end
    if mark ~= '' then
      local mark = cjson.decode(mark)
      -- @include marked.lua
    end
  end
end
