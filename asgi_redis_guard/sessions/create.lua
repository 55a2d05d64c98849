-- name: sessions.create
-- keys: record, index (as in sessions.save)
-- args: handle, set, idle, lifetime (as in sessions.save; ms; ms)
-- keeps: deadline
-- returns: ends, stamp (when it ends at the latest; the server's time; ms)
-- repeatable: yes
-- @check
stamp = floor(now / 1000)
ends = stamp + lifetime
deadline = stamp + idle
if deadline > ends then deadline = ends end
-- @commit
local stamp = floor(now / 1000)
call('HSET', record, 'm', string.format('%.0f:%.0f:%s:%.0f:1', stamp, stamp + lifetime, idle, stamp))
call('PEXPIREAT', record, deadline)
for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
if failure then
  call('DEL', record)
elseif index ~= record then
  call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', stamp))
  call('ZADD', index, deadline, handle)
  if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
end
