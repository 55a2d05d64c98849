-- name: ratelimit.log_settle
-- keys: entries (as log.lua has it)
-- args: amount, period, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local change = actual - reserved
if change < 0 then
  local stamp = string.format('%.0f', taken)
  local own = call('ZRANGEBYSCORE', entries, stamp, stamp, 'LIMIT', 0, -change) or {}
  for _, entry in ipairs(own) do call('ZREM', entries, entry) end
elseif change > 0 then
  if change > amount + 0 then change = amount + 0 end -- what is owed beyond that changes nothing for a whole period
  local stamp = string.format('%.0f', now)
  local number = 0
  for _ = 1, change do
    repeat number = number + 1 until call('ZADD', entries, stamp, stamp .. ':owed:' .. number) ~= 0
  end
  -- Of more than twice the amount the oldest change nothing, not even when all that was admitted is given back.
  call('ZREMRANGEBYRANK', entries, 0, -2 * amount - 1)
  call('PEXPIRE', entries, ceil(period / 1000))
end
