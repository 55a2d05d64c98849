-- name: ratelimit.gcra_settle
-- keys: cell (as gcra.lua has it)
-- args: emission, taken, reserved, actual (as there; µs by the server's clock; units)
-- @check
-- @commit
local tat = tonumber(call('GET', cell)) or 0
if tat < now then tat = now end
local change = emission * (actual - reserved)
-- What has drained since is not given back: nobody could have used it by now.
local undrained = emission * reserved - (now - taken)
if undrained < 0 then undrained = 0 end
if change < -undrained then change = -undrained end
tat = tat + change
if tat > now + 31622400000000 then tat = now + 31622400000000 end -- a debt of 366 days is one without end
if tat > now then
  call('SET', cell, string.format('%.0f', tat), 'PX', ceil((tat - now) / 1000))
else
  call('DEL', cell)
end
