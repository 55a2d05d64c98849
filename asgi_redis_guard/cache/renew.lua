-- name: cache.renew
-- keys: fill
-- args: token, lease (ms)
-- repeatable: yes
-- @check
local holder = call('GET', fill)
-- @include typed.lua
stop = not holder or string.sub(holder, 1, #token) ~= token
-- @commit
call('PEXPIRE', fill, lease)
