-- name: ratelimit.fixed_settle
-- keys: counter (as fixed.lua has it)
-- args: period, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local ends, used
-- @include window.lua
local change = actual - reserved
-- A window that was begun after `taken` ends later than a period after it.
if change > 0 or (used > 0 and ends <= taken + period) then
  used = used + change
  -- @include keep_used.lua
end
