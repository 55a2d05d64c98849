-- name: jwt.not_after
-- keys: cutoff (a string: µs, or a generation; what was issued up to then is revoked)
-- args: issued (likewise; 0 if the token does not say)
-- repeatable: yes
-- @check
local revoked_at = tonumber(call('GET', cutoff))
if revoked_at and tonumber(issued) <= revoked_at then stop = true end
