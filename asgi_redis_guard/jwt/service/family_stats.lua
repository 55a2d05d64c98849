-- name: jwt.family_stats
-- keys: alive, hours (as in jwt.family_tally)
-- returns: hour, ends, counts (hours since the epoch; hour and count in turn; the same with the letter before the hour)
-- repeatable: yes
-- @check
hour = floor(now / 3600000000)
ends, counts = call('HGETALL', alive) or {}, call('HGETALL', hours) or {}
