-- name: jwt.family_cutoff
-- keys: everybody (as in jwt.not_after; the cutoff for all users)
-- returns: cutoff (µs since the epoch; 0 if there is none)
-- repeatable: yes
-- @check
cutoff = tonumber(call('GET', everybody) or '') or 0
