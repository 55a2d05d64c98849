-- Tell the mirrors of the blacklist, where there are any.
-- takes: KEYS[2] (their state), KEYS[3] (their stream), state (epoch and last entry), clock (the reply of TIME), now (ms), what, words (of the entry)
-- sets: nothing that others need
-- An entry: after, the one before it; what, and the words; at, when that was (ms).
if state[1] and words ~= '' then
  -- An id that no entry of this epoch has had, even if the stream was deleted or the clock set back.
  local last = state[2] or '0-0'
  local ms, number = string.match(last, '^(%d+)-(%d+)$')
  local id = string.format('%.0f-0', now)
  if tonumber(ms) >= now then id = ms .. '-' .. string.format('%.0f', number + 1) end
  -- What is older than ten minutes goes: who has missed it looks at everything again.
  local entry = {KEYS[3], 'MINID', '~', string.format('%.0f', now - 600000), id, 'after', last, what, words, 'at', string.format('%.0f', clock[1] * 1000000 + clock[2])}
  local added = redis.pcall('XADD', unpack(entry))
  if type(added) == 'table' and added.err then
    -- Somebody else has written there; a mirror that has read the last entry of ours misses nothing.
    redis.call('DEL', KEYS[3])
    redis.call('XADD', unpack(entry))
  end
  redis.call('PEXPIRE', KEYS[3], 3600000)
  redis.call('HSET', KEYS[2], 'last', id)
end
