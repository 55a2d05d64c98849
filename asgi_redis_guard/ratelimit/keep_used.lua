-- Keeps what is used in a window or a period until that ends.
-- takes: counter, ends, used (as fixed.lua has them)
-- sets: nothing
if used > 0 then
  call('SET', counter, string.format('%.0f:%.0f', ends, used), 'PX', ceil((ends - now) / 1000))
else
  call('DEL', counter)
end
