-- Set one mark, for what is left of a token's life; one that is there is never kept for less long.
-- takes: key (the mark), when (its end in ms since the epoch, or minus how long it is kept), value, margin (ms), now (ms)
-- sets: left (ms that it is kept; 0 or less: none was set), before (what it had left, 0 if it was not there)
local left, before = (when < 0 and -when or when - now) + margin, 0
if left > 0 and not redis.call('SET', key, value, 'PX', string.format('%.0f', left), 'NX') then
  before = math.max(1, redis.call('PTTL', key))
  if left < before then left = before end
  redis.call('SET', key, value, 'PX', string.format('%.0f', left))
end
