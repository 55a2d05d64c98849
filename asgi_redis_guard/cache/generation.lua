-- name: cache.generation
-- keys: tag (a string: a generation, `<hard>.<soft>`, two stamps of 16 digits; whatever follows a space is kept)
-- args: expected, life (the generation that it must still have, empty for any; ms that it lives at the least from now on)
-- keeps: made, shape
-- group: cache
-- repeatable: yes
-- returns: generation (33 characters; empty if there is none and one was expected)
-- @check
local digits = string.rep('%d', 16)
shape = '^' .. digits .. '%.' .. digits
generation = string.match(call('GET', tag) or '', shape)
-- @include typed.lua
if not generation then
  generation = ''
  if expected == '' then
    -- What is absent makes everything invalid that was recorded under it: another stamp than any that it had.
    made = string.format('%016.0f', now)
    generation = made .. '.' .. made
  end
end
if expected ~= '' and generation ~= expected then stop = true end
-- @commit
-- It may be that an operation before this one has made it, in this very round.
local there = string.match(call('GET', tag) or '', shape)
-- @include typed.lua
if made and not there then
  call('SET', tag, made .. '.' .. made, 'PX', life)
elseif (call('PTTL', tag) or 0) < life + 0 then
  call('PEXPIRE', tag, life)
end
