-- name: jwt.epoch_set
-- keys: epoch (as in jwt.epoch)
-- args: before, keep (µs since the epoch, empty for now; one to come counts as now; ms that it is remembered)
-- keeps: text
-- returns: since (the cutoff; one that is set already is never moved back)
-- repeatable: yes
-- @check
since = math.max(math.min(tonumber(before) or now, now), tonumber(call('GET', epoch) or '') or 0)
text = string.format('%.0f', since)
-- @commit
call('PEXPIRE', epoch, keep) -- first, as in jwt.family_rotate
call('SET', epoch, text, 'PX', keep)
