-- name: locks.semaphore_release
-- keys: lock (a sorted set: tokens by when their time is up, µs; '' far beyond marks waiters)
-- args: token, channel, word (what is said there if somebody waits)
-- keeps: mine
-- returns: held (1 if it was held with this token)
-- repeatable: yes
-- @check
local score = tonumber(call('ZSCORE', lock, token) or '')
mine = score ~= nil
held = mine and score > now and 1 or 0
-- @commit
if mine then
  call('ZREM', lock, token)
  if call('ZREM', lock, '') == 1 then call('PUBLISH', channel, word) end
end
