-- name: cache.renew
-- keys: fill
-- args: token, lease (ms)
-- repeatable: yes
-- @check
local holder = call('GET', fill)
stop = not holder or string.sub(holder, 1, #token) ~= token
-- @commit
call('PEXPIRE', fill, lease)
