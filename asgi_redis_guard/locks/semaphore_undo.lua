-- name: locks.semaphore_undo
-- keys: lock (as in locks.semaphore_release)
-- args: token
-- keeps: mine, told
-- repeatable: yes
-- As locks.undo.
-- @check
mine = call('ZSCORE', lock, token)
told = mine and call('ZSCORE', lock, '')
-- @commit
if mine then
  call('ZREM', lock, token)
  if told then
    call('ZREM', lock, '')
    local prefix, word = string.match(lock, '^(.*)ks:{([^{}]*)}$')
    if word then call('PUBLISH', prefix .. 'locks', word) end
    failure = nil -- who may not publish has done it all the same
  end
end
