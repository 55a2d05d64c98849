-- Count marks that were set, index them for mirrors, tell those and whoever holds something open.
-- takes: KEYS[1] (the counts), KEYS[2], KEYS[3] (as announce.lua), channel, set (words, what each had left before and has now: ms), now (ms)
-- sets: added (how many were not there before)
local state = redis.call('HMGET', KEYS[2], 'epoch', 'last')
local counts, hours, marked, added, last = {}, {}, {}, 0, 0
for i = 1, #set, 3 do
  local word, before, left = set[i], tonumber(set[i + 1]), tonumber(set[i + 2])
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
for hour, count in pairs(counts) do
  if count ~= 0 and redis.call('HINCRBY', KEYS[1], hour, count) < 1 then redis.call('HDEL', KEYS[1], hour) end
end
-- The counts live an hour longer than the last mark, and so does what says which marks they are.
if last > 0 and redis.call('PTTL', KEYS[1]) < last + 3600000 then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last + 3600000))
end
local said, index = {}, {}
for word, hour in pairs(hours) do
  said[#said + 1] = hour .. ' ' .. word
  local marks = index[hour] or {}
  index[hour] = marks
  marks[#marks + 1] = word
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
if #marked > 0 then redis.pcall('PUBLISH', channel, table.concat(marked, ' ')) end
