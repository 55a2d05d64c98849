-- name: cache.find
-- keys: resource, variant, fill
-- args: names (that the variant goes by), tags (text that its entry should have), token, lease (ms), life (ms, of the resource's mark), fills (1: claim what is needed), spread (thousandths of the fill's time, for early refreshes), inline (bytes)
-- keeps: claims
-- returns: mark (text), entry (as much of it as may stand here), free (1: the fill is nobody else's), need (1: to be filled, 2: to be asked about anew)
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
    entry = call('GETRANGE', variant, 0, inline - 1) or ''
    if entry ~= '' then
      if string.sub(entry, 44, 59) ~= string.sub(mark, 1, 16) then
        entry = '' -- what was invalidated is of no use, not even stale
      elseif string.sub(entry, 81, 80 + tonumber(string.sub(entry, 77, 80))) ~= tags then
        need = 2
      elseif string.sub(entry, 61, 76) == string.sub(mark, 18, 33) then
        local early = floor(string.sub(entry, 34, 43) * spread / 1000)
        if now + early < tonumber(string.sub(entry, 18, 33)) then need = 0 end
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
