-- name: jwt.user
-- keys: cutoff (a string: µs; the user's tokens that were issued up to then are revoked)
-- args: issued (µs since the epoch; 0 if the token does not say)
-- repeatable: yes
-- @check
local revoked_at = tonumber(call('GET', cutoff))
if revoked_at and tonumber(issued) <= revoked_at then stop = true end
