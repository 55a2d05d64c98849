-- name: cache.generation
-- keys: tag (a string: a generation, `<hard>.<soft>`, two stamps of 16 digits; whatever follows a space is kept)
-- args: expected, life (the generation that it must still have, empty for any; ms that it lives at the least from now on)
-- keeps: shape
-- group: cache
-- repeatable: yes
-- returns: generation (33 characters)
-- @check
local digits = string.rep('%d', 16)
shape = '^' .. digits .. '%.' .. digits
generation = string.match(call('GET', tag) or '', shape)
-- @include typed.lua
if not generation then
  -- What is absent makes everything invalid that was recorded under it: another stamp than any that it had. It is made
  -- here and not in the commit, which a generation that is not the expected one does not come to; that changes nothing.
  generation = string.format('%016.0f.%016.0f', now, now)
  call('SET', tag, generation, 'PX', life)
end
if expected ~= '' and generation ~= expected then stop = true end
-- @idle
unneeded = (call('PTTL', tag) or 0) * 10 >= life * 9 -- whoever fills anything has so much less time
-- @commit
if (call('PTTL', tag) or 0) < life + 0 then call('PEXPIRE', tag, life) end
