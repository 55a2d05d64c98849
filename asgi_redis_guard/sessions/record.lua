-- name: sessions.record
-- keys: stream (a user's security events: `k` the kind, `d` the details as JSON)
-- args: kind, details, retention, most (a word; JSON; ms; how many events are kept)
-- repeatable: yes
-- returns: id (of the event: when, ms by the server's clock, and its number within that millisecond)
-- keeps: place
-- @check
local stamp, number = floor(now / 1000), 0
local last = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if last and last[1] then
  local before, count = string.match(last[1][1], '^(%d+)-(%d+)$')
  if before + 0 >= stamp then
    stamp, number = before + 0, count + 1
  end
end
id = string.format('%.0f-%.0f', stamp, number)
place = id
-- @commit
if not call('XADD', stream, 'MAXLEN', '=', most, place, 'k', kind, 'd', details) then
  failure = nil -- it may be that this very round has recorded another event of this user; the next place is free
  call('XADD', stream, 'MAXLEN', '=', most, '*', 'k', kind, 'd', details)
end
call('XTRIM', stream, 'MINID', '=', string.format('%.0f', floor(now / 1000) - retention))
call('PEXPIRE', stream, retention)
