-- Mark tokens as revoked, for what is left of their lives.
-- KEYS: 1 = the counts by hour of expiry (hash), which the index stands beside; 2 = the mirrors' state (hash);
--       3 = their stream; 4… = the marks
-- ARGV: 1 = margin in ms, kept beyond each token's end; 2 = the channel on which it is told;
--       then for each mark: its end in ms since the epoch, or minus its life in ms; and its value
-- returns: how many were not revoked before
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HDEL', KEYS[1], '') -- first what full memory does not refuse: what a script writes after that is not either
local margin, added, last = tonumber(ARGV[1]), 0, 0
local state = redis.call('HMGET', KEYS[2], 'epoch', 'last')
local counts, hours, texts, marked = {}, {}, {}, {}
for i = 4, #KEYS do
  local when, value = tonumber(ARGV[2 * i - 5]), ARGV[2 * i - 4]
  local left = (when < 0 and -when or when - now) + margin
  if left > 0 then
    local before, word = 0, string.sub(KEYS[i], -20)
    texts[left] = texts[left] or string.format('%.0f', left)
    if not redis.call('SET', KEYS[i], value, 'PX', texts[left], 'NX') then
      before = redis.call('PTTL', KEYS[i])
      if left < before then left = before end
      redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', left))
    end
    local hour = math.floor((now + left) / 3600000)
    -- What is indexed was told, and is not told again: or whoever may revoke could fill the stream with one token.
    local is_told = before > 0 and state[1] and redis.call('SISMEMBER', KEYS[1] .. ':' .. hour, word) == 1
    if before > 0 then
      local former = math.floor((now + before) / 3600000)
      counts[former] = (counts[former] or 0) - 1
      if state[1] and not is_told then
        for other = former - 1, former + 1 do redis.call('SREM', KEYS[1] .. ':' .. other, word) end
      end
    else
      added = added + 1
      marked[#marked + 1] = word
    end
    counts[hour] = (counts[hour] or 0) + 1
    if state[1] and not is_told then hours[word] = hour end
    if left > last then last = left end
  end
end
for hour, count in pairs(counts) do
  if count ~= 0 and redis.call('HINCRBY', KEYS[1], hour, count) < 1 then redis.call('HDEL', KEYS[1], hour) end
end
-- The counts live an hour longer than the last mark, and so does what says which marks they are.
if last > 0 and redis.call('PTTL', KEYS[1]) < last + 3600000 then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last + 3600000))
end
local said, index = {}, {}
for mark, hour in pairs(hours) do
  said[#said + 1] = hour .. ' ' .. mark
  local marks = index[hour] or {}
  index[hour] = marks
  marks[#marks + 1] = mark
end
for hour, marks in pairs(index) do
  local key = KEYS[1] .. ':' .. hour
  for i = 1, #marks, 1000 do
    redis.call('SADD', key, unpack(marks, i, math.min(i + 999, #marks)))
  end
  redis.call('PEXPIREAT', key, string.format('%.0f', (hour + 2) * 3600000))
end
local what, words = 'marks', table.concat(said, ' ')
-- @include announce.lua
if #marked > 0 then redis.pcall('PUBLISH', ARGV[2], table.concat(marked, ' ')) end
return added
