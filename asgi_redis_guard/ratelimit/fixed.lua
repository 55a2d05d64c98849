-- name: ratelimit.fixed
-- keys: counter (a string: when its window ends, µs, and the units used in it)
-- args: amount, period, cost (units; µs; units)
-- keeps: ends, used
-- group: limits
-- repeatable: yes
-- undo: fixed_settle.lua (period, now, cost, 0)
-- returns: remaining, reset_after, retry_after (units left; µs; µs, 0 if this fits)
-- @check
-- @include window.lua
-- @include quota.lua
-- @commit
if cost + 0 > 0 then
  -- @include keep_used.lua
end
