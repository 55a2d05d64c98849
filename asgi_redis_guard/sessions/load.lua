-- name: sessions.load
-- keys: record (a hash: `m` its times and version, `o` its successor if it was replaced, data fields begin with a dot)
-- args: seen (`m` as the caller knows it, empty for nothing)
-- repeatable: yes
-- returns: fields, stamp (names and values in turn, of what was replaced and has ended, its mark; 0 if there is no such session, 1 if it is as seen; the time, ms)
-- @check
stamp = floor(now / 1000)
if seen ~= '' then
  local found = call('HMGET', record, 'm', 'o')
  if found and found[1] == seen and not found[2] then fields = 1 end
end
if fields ~= 1 then
  fields = call('HGETALL', record)
  -- Sessions whose events are recorded leave a mark when they are replaced (rotate.lua): looked for only here.
  if fields and #fields == 0 then fields = call('HGETALL', record .. ':replaced') end
  if not fields or #fields == 0 then fields = 0 end
end
-- @sure
-- What a replica lacks may be on its way there; of what the caller has seen it may know an older state.
unneeded = fields == 1 or (seen == '' and fields ~= 0)
