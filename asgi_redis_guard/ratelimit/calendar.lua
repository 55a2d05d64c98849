-- name: ratelimit.calendar
-- keys: counter (a string: when its period ends, µs, and the units used in it)
-- args: amount, first, second, third, cost (units; µs: when the periods before, at and after the app's time end; units)
-- keeps: ends, used
-- group: limits
-- repeatable: yes
-- undo: calendar_settle.lua (first, second, third, now, cost, 0)
-- returns: remaining, reset_after, retry_after (units left; µs; µs, 0 if this fits)
-- @check
-- @include period.lua
-- @include quota.lua
-- @commit
if cost + 0 > 0 then
  -- @include keep_used.lua
end
