-- name: ratelimit.calendar_settle
-- keys: counter (as calendar.lua has it)
-- args: first, second, third, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local ends, used
-- @include period.lua
-- What a period that is over got too little is owed in this one; what it got too much is gone with it.
if actual - reserved > 0 or taken + 0 >= began then
  used = used + actual - reserved
  -- @include keep_used.lua
end
