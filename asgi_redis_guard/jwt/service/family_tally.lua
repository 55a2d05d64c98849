-- name: jwt.family_tally
-- keys: alive, hours (how many live, by hour of their end; b, r, p, u, e with an hour: begun, rotated, replayed, reused, ended)
-- args: changes, keep (JSON: which of the keys, field, how many more or fewer, and so on; ms that `alive` is kept)
-- @check
-- @commit
local all, this_hour = cjson.decode(changes), floor(now / 3600000000)
for i = 1, #all, 3 do
  local key = all[i] == 1 and alive or hours
  local count = call('HINCRBY', key, all[i + 1], all[i + 2])
  if count and count < 1 then
    call('HDEL', key, all[i + 1])
  elseif count == all[i + 2] then -- a new field: look for old ones
    local oldest = key == hours and this_hour - 168 or this_hour
    for _, field in ipairs(call('HKEYS', key) or {}) do
      if tonumber(string.match(field, '%d+')) < oldest then call('HDEL', key, field) end
    end
  end
end
if call('EXISTS', alive) == 1 and (call('PTTL', alive) or 0) < keep + 0 then call('PEXPIRE', alive, keep) end
if call('EXISTS', hours) == 1 then call('PEXPIRE', hours, 604800000) end
