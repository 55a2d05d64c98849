-- name: cache.store
-- keys: resource, variant
-- args: generation (of the resource when it was looked up), names (then), grown (names from now on), hints (text for those who do not know the resource, empty for none), began (µs), value, life (ms)
-- keeps: known
-- group: cache
-- repeatable: yes
-- @check
local mark = call('GET', resource)
known = mark and string.sub(mark, 35)
local named = mark and string.match(known, '^[^ ]*')
stop = not mark or string.sub(mark, 1, 33) ~= generation or (named ~= names and named ~= grown)
if not stop then
  local head = call('GETRANGE', variant, 0, 75) or ''
  if string.sub(head, 44) == generation then
    -- A fill that was looked up later knows better.
    local other = tonumber(string.match(string.sub(head, 2, 17), '^%d+$') or '')
    stop = other and other > tonumber(began) and other <= now
  end
end
-- @include typed.lua
-- @commit
call('SET', variant, value, 'PX', life)
local left = call('PTTL', resource) or 0
local told = hints == '' and grown or grown .. ' ' .. hints
if known ~= told then
  call('SET', resource, generation .. ' ' .. told, 'PX', math.max(left, tonumber(life)))
elseif left < tonumber(life) then
  call('PEXPIRE', resource, life)
end
