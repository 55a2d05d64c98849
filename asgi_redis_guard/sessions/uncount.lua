-- name: sessions.uncount
-- keys: active, users, hours (as in sessions.count)
-- args: handles, user, left, begun (JSON; empty for nobody; ms at which the last of the user's other sessions ends, 0 if there is none, empty if that is not known; 1 if they ended, 0 if they never began)
-- repeatable: yes
-- @check
-- @commit
local hour = string.format('%.0f', floor(now / 3600000000))
for _, handle in ipairs(cjson.decode(handles)) do
  if call('ZREM', active, handle) == 1 then
    if begun == '1' then
      call('HINCRBY', hours, 'e' .. hour, 1)
    else
      call('HINCRBY', hours, 'b' .. hour, -1)
    end
  end
end
if user ~= '' and left ~= '' then
  if left + 0 > 0 then
    call('ZADD', users, 'XX', left, user)
  else
    call('ZREM', users, user)
  end
end
if call('EXISTS', hours) == 1 then call('PEXPIRE', hours, 604800000) end
