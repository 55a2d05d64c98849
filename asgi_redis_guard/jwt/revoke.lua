-- Mark tokens as revoked, for what is left of their lives.
-- KEYS: 1 = the counts by hour of expiry (hash); 2… = the marks
-- ARGV: 1 = margin in ms, kept beyond each token's end; 2 = the longest life in ms;
--       then for each mark: its end in ms since the epoch, or minus its life in ms; and its value
-- returns: how many were not revoked before
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local margin, longest, added = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
for i = 2, #KEYS do
  local when, value = tonumber(ARGV[2 * i - 1]), ARGV[2 * i]
  local left = (when < 0 and -when or when - now) + margin
  if left > longest + margin then left = longest + margin end
  if left > 0 then
    local before = redis.call('PTTL', KEYS[i])
    if left < before then left = before end
    redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', left))
    if before > 0 then
      redis.call('HINCRBY', KEYS[1], math.floor((now + before) / 3600000), -1)
    else
      added = added + 1
    end
    redis.call('HINCRBY', KEYS[1], math.floor((now + left) / 3600000), 1)
  end
end
if added > 0 then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', longest + margin + 3600000)) end
return added
