-- name: jwt.epoch
-- keys: epoch (a string: µs; what was issued up to then, to whomever, is revoked)
-- args: issued (µs since the epoch; empty to ask for the cutoff alone)
-- returns: since
-- repeatable: yes
-- @check
since = tonumber(call('GET', epoch) or '') or 0
if issued ~= '' and tonumber(issued) <= since then stop = true end
