-- name: sessions.count
-- keys: active, users, hours (sessions by when they end; users by when their last one does; b and e with an hour: begun, ended)
-- args: handle, leaver, user, idle, lifetime, last (a session; whom it takes the place of: itself if it was used, empty for a new one; empty for nobody; ms; its end at the latest in ms, empty for a new one)
-- repeatable: yes
-- @check
-- @commit
local stamp = floor(now / 1000)
local ends = last ~= '' and last + 0 or stamp + lifetime
local deadline = stamp + idle
if deadline > ends then deadline = ends end
-- Each call takes away more than it adds, and never so much that others wait for it.
local over = call('ZRANGEBYSCORE', active, '-inf', string.format('%.0f', stamp), 'WITHSCORES', 'LIMIT', 0, 100) or {}
for i = 1, #over, 2 do
  call('ZREM', active, over[i])
  call('HINCRBY', hours, string.format('e%.0f', floor(over[i + 1] / 3600000)), 1)
end
for _, one in ipairs(call('ZRANGEBYSCORE', users, '-inf', string.format('%.0f', stamp), 'LIMIT', 0, 100) or {}) do
  call('ZREM', users, one)
end
local hour = string.format('%.0f', floor(stamp / 3600000))
local is_new = leaver == '' and not call('ZSCORE', active, handle)
if is_new and call('HINCRBY', hours, 'b' .. hour, 1) == 1 then
  for _, name in ipairs(call('HKEYS', hours) or {}) do
    if tonumber(string.sub(name, 2)) <= hour - 168 then call('HDEL', hours, name) end
  end
end
if is_new or (leaver ~= '' and call('ZREM', active, leaver) == 1) then
  call('ZADD', active, deadline, handle)
  if (call('PTTL', active) or 0) < deadline - stamp then call('PEXPIREAT', active, deadline) end
  if user ~= '' then
    if (tonumber(call('ZSCORE', users, user) or 0)) < deadline then call('ZADD', users, deadline, user) end
    if (call('PTTL', users) or 0) < deadline - stamp then call('PEXPIREAT', users, deadline) end
  end
end
if call('EXISTS', hours) == 1 then call('PEXPIRE', hours, 604800000) end
