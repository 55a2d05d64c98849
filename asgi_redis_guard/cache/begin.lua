-- name: cache.begin
-- keys: resource
-- args: life (ms that its mark lives at the least from now on)
-- keeps: made
-- repeatable: yes
-- returns: generation (33 characters, of what has no variants but one)
-- @check
generation = call('GET', resource) or ''
local _, shaped = string.find(generation, '^%d+%.%d+ ')
if shaped == 34 and string.sub(generation, 17, 17) == '.' then
  generation = string.sub(generation, 1, 33)
else
  made = string.format('%016.0f.%016.0f', now, now)
  generation = made
end
-- @include typed.lua
-- @commit
if made then
  call('SET', resource, made .. ' ', 'PX', life)
elseif (call('PTTL', resource) or 0) < life + 0 then
  call('PEXPIRE', resource, life)
end
