-- name: sessions.load
-- keys: record (a hash: `m` its times and version, `o` its successor if it was replaced, data fields begin with a dot)
-- args: seen (`m` as the caller knows it, empty for nothing)
-- repeatable: yes
-- returns: fields, stamp (names and values in turn, 0 if there is no such session, 1 if it is as seen; the time, ms)
-- @check
stamp = floor(now / 1000)
if seen ~= '' then
  local found = call('HMGET', record, 'm', 'o')
  if found and found[1] == seen and not found[2] then fields = 1 end
end
if fields ~= 1 then
  fields = call('HGETALL', record)
  if not fields or #fields == 0 then fields = 0 end
end
