-- name: cache.drop
-- keys: variant
-- repeatable: yes
-- @check
-- @commit
call('DEL', variant)
