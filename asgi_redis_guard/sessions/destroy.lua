-- name: sessions.destroy
-- keys: record, index, notes (as in sessions.create)
-- args: handle, channel (member of the index; where its end is told)
-- returns: left (when the last of its user's other sessions ends, 0 if there is none; ms)
-- repeatable: yes
-- @check
if index ~= record then
  local latest = call('ZREVRANGEBYSCORE', index, '+inf', string.format('(%.0f', floor(now / 1000)), 'WITHSCORES', 'LIMIT', 0, 2) or {}
  left = tonumber(latest[1] == handle and latest[4] or latest[1] ~= handle and latest[2] or 0)
end
-- @commit
if index ~= record then
  local stem, one = string.sub(record, 1, #record - #handle), handle
  -- @include overlaps.lua
  call('ZREM', index, handle)
  call('HDEL', notes, handle)
end
call('DEL', record)
call('PUBLISH', channel, handle)
