-- name: jwt.family_revoke
-- keys: family, indexes (as in jwt.family_rotate)
-- args: attempt, why, keep, name (as in jwt.family_rotate; `why`: text that is kept with it)
-- keeps: text, index
-- returns: revoked (1 now, 0 it was not alive), was (when its token was to end, ms since the epoch), note
-- repeatable: yes
-- @check
local found = call('GET', family)
-- @include family_read.lua
if standing == 'a' then
  local cause = 'f'
  -- @include family_end.lua
  text, index, revoked, was, note = over, indexes .. whose, 1, due + 0, string.sub(rest, 1, size + 0)
elseif standing and by == attempt then -- asked again: the reply was lost
  revoked, was, note = 1, due + 0, string.sub(rest, 1, size + 0)
end
-- @commit
if text then
  local stamp, life = floor(now / 1000), keep + 0
  call('PEXPIRE', family, life) -- first, as in jwt.family_rotate
  call('SET', family, text, 'PX', life)
  -- @include family_enter.lua
end
