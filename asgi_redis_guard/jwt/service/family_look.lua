-- name: jwt.family_look
-- keys: family, generations (as in jwt.family_rotate)
-- args: presented, grace, most, idle, lifetime (as in jwt.family_rotate)
-- returns: state (what jwt.family_rotate would say now: 0 unknown, 1 rotated, 2 the same again, 3 reused, 4 revoked, 5 expired), born (when the family began, µs), made (when the good token was made, ms), till (when that ends, ms), ended_by (how a family that is over stands; u also where its user's generation is over), note
-- repeatable: yes
-- @check
local found, stamp = call('GET', family), floor(now / 1000)
-- @include family_read.lua
if standing then
  born, made, note = begun + 0, turned + 0, string.sub(rest, 1, size + 0)
  local ends = math.min(last + 0, floor(born / 1000) + lifetime)
  till = math.min(due + 0, made + idle, ends)
  local current = tonumber(string.match(call('GET', generations .. whose) or '', '^%d+') or '') or 0
  local asked, number = presented + 0, serial + 0
  if standing ~= 'a' or current > under + 0 then
    state, ended_by = 4, standing ~= 'a' and standing or 'u'
  elseif stamp >= till then
    state = 5
  elseif asked >= number then
    state = 1
  elseif asked == number - 1 and math.abs(stamp - made) < grace + 0 and again + 0 < most + 0 then
    state = 2
  else
    state = 3
  end
end
-- @commit
