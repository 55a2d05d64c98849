-- name: sessions.uncount
-- keys: active, online, hours (as in sessions.count)
-- args: sessions, begun (JSON; 1 if they ended, 0 if they never began)
-- repeatable: yes
-- @check
-- @commit
local hour = string.format('%.0f', floor(now / 3600000000))
for _, one in ipairs(cjson.decode(sessions)) do
  if call('ZREM', active, one) == 1 then
    local user = string.match(one, ':(.+)$')
    if user and (call('HINCRBY', online, user, -1) or 0) < 1 then call('HDEL', online, user) end
    if begun == '1' then
      call('HINCRBY', hours, 'e' .. hour, 1)
    else
      call('HINCRBY', hours, 'b' .. hour, -1)
    end
  end
end
if call('EXISTS', hours) == 1 then call('PEXPIRE', hours, 604800000) end
