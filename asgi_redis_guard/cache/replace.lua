-- name: cache.replace
-- keys: resource
-- args: expected, life (the generation that it had before; ms that its mark lives at the least from now on)
-- keeps: made
-- repeatable: no
-- returns: generation, same (33 characters, a new one; 1 if it was as expected)
-- @check
local mark = call('GET', resource) or ''
local digits = string.rep('%d', 16)
local hard = string.match(mark, '^(' .. digits .. ')%.' .. digits .. ' ')
same = hard and string.sub(mark, 1, 33) == expected and 1 or 0
local stamp = now
if hard and hard + 1 > now then stamp = hard + 1 end
made = string.format('%016.0f.%016.0f', stamp, stamp)
generation = made
-- @include typed.lua
-- @commit
call('SET', resource, made .. ' ', 'PX', math.max(life + 0, call('PTTL', resource) or 0))
