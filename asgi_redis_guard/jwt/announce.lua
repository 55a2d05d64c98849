-- Tell the mirrors of the blacklist, where there are any.
-- takes: KEYS[2] (their state), KEYS[3] (their stream), state (epoch and last entry), now (ms), what, words (of the entry)
-- sets: nothing that others need
if state[1] and words ~= '' then
  -- What is older than ten minutes goes: who has missed it looks at everything again.
  local old = string.format('%.0f', now - 600000)
  local id = redis.call('XADD', KEYS[3], 'MINID', '~', old, '*', 'after', state[2] or '0-0', what, words)
  redis.call('PEXPIRE', KEYS[3], 3600000)
  redis.call('HSET', KEYS[2], 'last', id)
end
