-- name: cache.find
-- keys: resource, variant, fill
-- args: names (that the variant goes by), tags (text that its entry should have), token, lease (ms), life (ms, of the resource's mark), fills (1: claim what is needed, 2: whatever is there is unreadable), beta (of early refreshes, in thousandths), inline (bytes), seen (the beginning of the entry that the caller has)
-- keeps: claims, absent, holder
-- returns: mark (text), entry (as much of it as may stand here; `=` if it is the one that was seen), free (1: the fill is nobody else's), need (1: to be filled, 2: to be asked about anew, 3: to be filled if the tags are as expected)
-- repeatable: yes
-- holds: yes
-- @check
-- Nothing here stops a round: the guard asks with `last`, so that nothing stands behind. Where entries are invalid by
-- their tags, `cache.generation` behind this one stops, and the commit sees it as `refused`. A claim knows its own
-- token. Whatever has not the shape that this cache gives it is as good as absent, and is written over.
mark = call('GETRANGE', resource, 0, 8191) or ''
local _, shaped = string.find(mark, '^%d+%.%d+ ')
absent = shaped ~= 34 or #mark == 8192 or string.sub(mark, 17, 17) ~= '.'
if absent then mark = '' end
entry = ''
need = 1
if not absent then
  if string.match(mark, '^[^ ]*', 35) ~= names then
    need = 2
  elseif fills ~= '2' then
    local head = seen
    if seen ~= '' and call('GETRANGE', variant, 0, #seen - 1) == seen then
      entry = '='
    else
      entry = call('GETRANGE', variant, 0, inline - 1) or ''
      head = entry
      _, shaped = string.find(head, '^[1P]%d+%.%d+')
      if not shaped or shaped < 80 or string.sub(head, 60, 60) ~= '.' then entry = '' end
    end
    if entry ~= '' then
      local text = string.sub(head, 81, 80 + string.sub(head, 77, 80))
      if string.sub(head, 44, 59) ~= string.sub(mark, 1, 16) then
        entry = '' -- what was invalidated is of no use, not even stale
      elseif text ~= tags and string.sub(head, 1, 1) ~= 'P' then
        need = 2
        if string.gsub(text, '=[%d.]+;', '') == string.gsub(tags, '=[%d.]+;', '') then need = 3 end
      elseif string.sub(head, 61, 76) == string.sub(mark, 18, 33) then
        -- XFetch: the nearer the end and the longer the fill, the likelier it is made anew before. The µs of the clock
        -- are chance enough.
        local early = string.sub(head, 34, 43) * beta / 1000 * -math.log((now % 1000003 + 1) / 1000004)
        if now + early < tonumber(string.sub(head, 18, 33)) then need = 0 end
      end
    end
  end
end
free = 0
holder = ''
if need ~= 2 and (need ~= 0 or tags ~= '') then
  holder = call('GET', fill) or ''
  if #(string.match(holder, '^(%x+)w*$') or '') ~= #token then holder = '' end
  if holder == '' or string.sub(holder, 1, #token) == token then free = 1 end
end
claims = fills ~= '0' and need
-- @include typed.lua
-- @idle
unneeded = claims ~= 1 and claims ~= 3 -- a hit is filled anew only if a tag has changed
-- @commit
if claims and (claims == 1 or (claims == 0 and refused) or (claims == 3 and not refused)) then
  if holder == '' then
    call('SET', fill, token, 'PX', lease)
  elseif string.sub(holder, 1, #token) == token then
    call('PEXPIRE', fill, lease)
  elseif string.sub(holder, -1) ~= 'w' then
    call('APPEND', fill, 'w') -- somebody waits: who fills it is to tell
  end
  if absent then
    call('SET', resource, string.format('%016.0f.%016.0f %s', now, now, names), 'PX', life)
  elseif call('PTTL', resource) < tonumber(life) then
    call('PEXPIRE', resource, life)
  end
end
