-- name: locks.undo
-- keys: lock (as in locks.release)
-- args: token
-- keeps: mine, told
-- repeatable: yes
-- Releases what was taken with others that were not to be had; the channel and the word are those of `core/keys.py`.
-- @check
local holder = call('GET', lock)
mine = holder and string.sub(holder, 18) == token
told = mine and string.sub(holder, 1, 1) == 'w'
-- @commit
if mine then call('DEL', lock) end
if told and not failure then
  local prefix, word = string.match(lock, '^(.*)k:{([^{}]*)}$')
  if word then call('PUBLISH', prefix .. 'locks', word) end
  failure = nil -- who may not publish has done it all the same
end
