-- Put an event into a user's stream, and drop what is too old there, or too much.
-- takes: stream, place (the id that it shall have, or '*'), kind, details, retention, most (as in sessions.record)
-- sets: id (of the event, false where it failed)
id = call('XADD', stream, 'MAXLEN', '=', most, place, 'k', kind, 'd', details)
if not id and place ~= '*' then
  failure = nil -- it may be that this very round has recorded another event of this user; the next place is free
  id = call('XADD', stream, 'MAXLEN', '=', most, '*', 'k', kind, 'd', details)
end
if id then
  call('XTRIM', stream, 'MINID', '=', string.format('%.0f', floor(now / 1000) - retention))
  call('PEXPIRE', stream, retention)
end
