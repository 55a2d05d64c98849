-- name: sessions.count
-- keys: active, online, hours (sessions by when they end; users with how many of those are theirs; b and e with an hour: begun, ended)
-- args: session, leaver, idle, lifetime, last (as they stand in `active`, `handle` or `handle:user`; its former id, itself if it was used, empty for a new one; ms; its end at the latest in ms, empty for a lifetime from now on)
-- repeatable: yes
-- @check
-- @commit
local stamp = floor(now / 1000)
local ends = last ~= '' and last + 0 or stamp + lifetime
local deadline = stamp + idle
if deadline > ends then deadline = ends end
-- Both keys change together and nowhere else, so that a user has as many as there are sessions of that user.
local function take(one)
  if call('ZREM', active, one) ~= 1 then return false end
  local user = string.match(one, ':(.+)$')
  if user and (call('HINCRBY', online, user, -1) or 0) < 1 then call('HDEL', online, user) end
  return true
end
if call('EXISTS', active) == 0 then call('DEL', online) end -- all have ended without anybody looking
-- Each call takes away more than it adds, and never so much that others wait for it.
local over = call('ZRANGEBYSCORE', active, '-inf', string.format('%.0f', stamp), 'WITHSCORES', 'LIMIT', 0, 100) or {}
for i = 1, #over, 2 do
  take(over[i])
  call('HINCRBY', hours, string.format('e%.0f', floor(over[i + 1] / 3600000)), 1)
end
local hour = string.format('%.0f', floor(stamp / 3600000))
local till = tonumber(call('ZSCORE', active, session) or 0)
local is_there = till > 0
if session ~= leaver then
  -- A former id that is not there was taken off as if it had ended, or is from before sessions were counted.
  local goes_on = leaver ~= '' and take(leaver)
  if not is_there and not goes_on and call('HINCRBY', hours, 'b' .. hour, 1) == 1 then
    for _, name in ipairs(call('HKEYS', hours) or {}) do
      if tonumber(string.sub(name, 2)) <= hour - 168 then call('HDEL', hours, name) end
    end
  end
end
if session ~= leaver and not is_there or session == leaver and till > stamp then -- one that is over is not used
  local user = string.match(session, ':(.+)$')
  local added = call('ZADD', active, deadline, session)
  if added then -- where memory is full, nothing else must be there either
    if added == 1 and user then call('HINCRBY', online, user, 1) end
    if (call('PTTL', active) or 0) < deadline - stamp then call('PEXPIREAT', active, deadline) end
    if user then
      call('HSETNX', online, user, 1) -- if the server has dropped the key: a user is seen again with the next use
      -- No earlier than the sessions: one that ended unseen would be taken off those that began since.
      call('PEXPIRE', online, call('PTTL', active))
    end
  end
end
if call('EXISTS', hours) == 1 then call('PEXPIRE', hours, 604800000) end
