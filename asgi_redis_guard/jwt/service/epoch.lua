-- name: jwt.epoch
-- keys: epoch (as in jwt.not_after; the cutoff for everybody)
-- returns: since (0 if there is none)
-- repeatable: yes
-- @check
since = tonumber(call('GET', epoch) or '') or 0
