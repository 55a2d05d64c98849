-- name: ratelimit.fixed_settle
-- keys: counter (as fixed.lua has it)
-- args: period, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local used = tonumber(call('GET', counter)) or 0
local left = used > 0 and call('PTTL', counter) or 0
local change = actual - reserved
-- A window that was begun after `taken` ends later than a period after it. The server sets an expiry by its clock at
-- that moment, which may be some milliseconds past what the script has been told.
local same = left > 0 and floor(now / 1000) + left <= floor((taken + period) / 1000) + 10
if left <= 0 then left = ceil(period / 1000) end
used = used + change
if used > 0 and (same or change > 0) then
  call('SET', counter, string.format('%.0f', used), 'PX', left)
elseif same then
  call('DEL', counter)
end
