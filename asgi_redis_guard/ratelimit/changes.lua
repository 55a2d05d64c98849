-- name: ratelimit.changes
-- keys: changes (a hash: rules to the limits that were put in their place)
-- args: life (ms)
-- repeatable: yes
-- returns: fields (names and values, one after the other)
-- @check
fields = call('HGETALL', changes) or {}
-- @commit
call('PEXPIRE', changes, life)
