-- name: ratelimit.counter_settle
-- keys: windows (as counter.lua has it)
-- args: period, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local begun, before, used
-- @include windows.lua
local change = actual - reserved
if change > 0 or taken + 0 >= begun then
  used = used + change
  if used < 0 then used = 0 end
elseif taken + 0 >= begun - period then
  before = before + change
  if before < 0 then before = 0 end
end
if before + used > 0 then
  local text = string.format('%.0f:%.0f:%.0f', begun, before, used)
  local ends = used > 0 and begun + 2 * period or begun + period
  call('SET', windows, text, 'PX', ceil((ends - now) / 1000))
else
  call('DEL', windows)
end
