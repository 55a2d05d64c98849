-- name: jwt.standing
-- keys: family, generation (of the family and the user that a token names; see family_read.lua and jwt.family_sweep)
-- args: gen (the user's generation that it was made under)
-- repeatable: yes
-- @check
local standing = call('GETRANGE', family, 0, 0)
local current = string.match(call('GET', generation) or '', '^%d+')
if standing and standing ~= '' and standing ~= 'a' or current and tonumber(current) > tonumber(gen) then stop = true end
