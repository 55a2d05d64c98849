-- name: ratelimit.counter
-- keys: windows (a string: when the window began, µs; units used in the one before it, and in this one)
-- args: amount, period, cost (units; µs; units)
-- keeps: begun, before, used
-- group: limits
-- repeatable: yes
-- undo: counter_settle.lua (period, now, cost, 0)
-- returns: remaining, reset_after, retry_after (units left; µs until both windows are forgotten; µs, 0 if this fits)
-- @check
-- @include windows.lua
local left, free = begun + period - now, amount - cost
if left > period + 0 then left = period + 0 end -- the clock was set back
-- The window before counts by the part of it that is not older than a period.
remaining = amount - ceil(before * left / period) - used
if remaining < cost + 0 then
  stop = true
  reset_after = used > 0 and left + period or left
  if free < 0 then
    retry_after = left + period
  elseif used <= free then
    retry_after = left - floor((free - used) * period / before)
  else
    retry_after = left + period - floor(free * period / used)
  end
  if remaining < 0 then remaining = 0 end
else
  used = used + cost
  remaining = remaining - cost
  reset_after = left + period
end
-- @commit
if cost + 0 > 0 then
  local text = string.format('%.0f:%.0f:%.0f', begun, before, used)
  call('SET', windows, text, 'PX', ceil((begun + 2 * period - now) / 1000))
end
