-- name: cache.generation
-- keys: tag (a string: a generation, `<hard>.<soft>`, two stamps of 16 digits; whatever follows a space is kept)
-- args: expected, life (the generation that it must still have, empty for any; ms that it lives at the least from now on)
-- keeps: made
-- group: cache
-- repeatable: yes
-- returns: generation (33 characters; empty if there is none and one was expected)
-- @check
local digits = string.rep('%d', 16)
generation = string.match(call('GET', tag) or '', '^' .. digits .. '%.' .. digits)
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
local left = call('PTTL', tag) or 0
if made and left == -2 then -- none was made meanwhile in this very round
  call('SET', tag, made .. '.' .. made, 'PX', life)
elseif left < life + 0 then
  call('PEXPIRE', tag, life)
end
