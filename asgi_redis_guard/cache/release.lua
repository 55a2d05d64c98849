-- name: cache.release
-- keys: fill, resource
-- args: token, channel, word, idle (generation of a mark that serves nobody, empty for none)
-- repeatable: yes
-- @check
-- @commit
local holder = call('GET', fill)
-- @include typed.lua
if holder and string.sub(holder, 1, #token) == token then
  call('DEL', fill)
  if #holder > #token then call('PUBLISH', channel, word) end
  if idle ~= '' and call('GET', resource) == idle .. ' ' then call('DEL', resource) end
end
