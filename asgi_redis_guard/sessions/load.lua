-- name: sessions.load
-- keys: record (a hash: `m` its times and version, `o` its successor if it was replaced, data fields begin with a dot)
-- repeatable: yes
-- returns: fields, stamp (names and values in turn, 0 if there is no such session; the server's time, ms)
-- @check
fields = call('HGETALL', record)
if not fields or #fields == 0 then fields = 0 end
stamp = floor(now / 1000)
