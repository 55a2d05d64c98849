-- name: cache.find
-- keys: resource, variant, fill
-- args: names (that the variant goes by), tags (text that its entry should have), token, lease (ms), life (ms, of the resource's mark), fills (1: claim what is needed), beta (of early refreshes, in thousandths), inline (bytes), seen (the beginning of the entry that the caller has)
-- keeps: claims
-- returns: mark (text), entry (as much of it as may stand here; `=` if it is the one that was seen), free (1: the fill is nobody else's), need (1: to be filled, 2: to be asked about anew)
-- repeatable: yes (a claim knows its own token)
-- holds: yes
-- @check
-- Nothing here stops a round: the guard asks with `last`, so that nothing stands behind. Where entries are invalid by
-- their tags, `cache.generation` behind this one stops, and the commit sees it as `refused`.
mark = call('GET', resource) or ''
entry = ''
need = 1
if mark ~= '' then
  if string.sub(mark, 35) ~= names then
    need = 2
  else
    local head = seen
    if seen ~= '' and call('GETRANGE', variant, 0, #seen - 1) == seen then
      entry = '='
    else
      entry = call('GETRANGE', variant, 0, inline - 1) or ''
      head = entry
    end
    if entry ~= '' then
      if string.sub(head, 44, 59) ~= string.sub(mark, 1, 16) then
        entry = '' -- what was invalidated is of no use, not even stale
      elseif string.sub(head, 81, 80 + tonumber(string.sub(head, 77, 80))) ~= tags then
        need = 2
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
if need == 1 or (need == 0 and tags ~= '') then
  local holder = call('GET', fill)
  if not holder or string.sub(holder, 1, #token) == token then free = 1 end
end
claims = fills == '1' and need
-- @commit
if claims and (claims == 1 or (claims == 0 and refused)) then
  if not call('SET', fill, token, 'NX', 'PX', lease) then
    local holder = call('GET', fill)
    if holder and string.sub(holder, 1, #token) == token then
      call('PEXPIRE', fill, lease)
    elseif holder then
      call('APPEND', fill, 'w') -- somebody waits: who fills it is to tell
    end
  end
  local known = call('GET', resource)
  if not known then
    call('SET', resource, string.format('%016.0f.%016.0f %s', now, now, names), 'PX', life)
  elseif call('PTTL', resource) < tonumber(life) then
    call('PEXPIRE', resource, life)
  end
end
