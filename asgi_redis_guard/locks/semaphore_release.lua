-- name: locks.semaphore_release
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters)
-- args: token, channel, word (what is said there if somebody waits)
-- keeps: mine, told
-- returns: held (1 if it was held with this token), waited (1 if others wait for it)
-- repeatable: yes
-- @check
local score = tonumber(call('ZSCORE', lock, token) or '')
mine = score ~= nil
told = mine and call('ZSCORE', lock, '')
held, waited = mine and score > now and 1 or 0, told and 1 or 0
-- @commit
if mine then
  call('ZREM', lock, token)
  if told then
    call('ZREM', lock, '')
    redis.pcall('PUBLISH', channel, word)
  end
end
