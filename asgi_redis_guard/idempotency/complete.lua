-- name: idempotency.complete
-- keys: record (as in begin.lua)
-- args: token, value (what the record is from now on), ttl (ms), channel, word (what is said there if somebody waits)
-- keeps: present, writes, waited
-- returns: recorded (1 if it is there by this token, 0 if the record is another's)
-- repeatable: yes
-- @check
local head = call('GETRANGE', record, 0, 37) or ''
local mine = string.sub(head, 23) == token
present = head ~= ''
writes = not present or (mine and string.sub(head, 1, 1) == 'P')
waited = writes and string.sub(head, 2, 2) == 'w'
recorded = (writes or mine) and 1 or 0
-- @commit
if writes then
  -- First a write that needs no memory: after it, full memory refuses none.
  if present then call('PEXPIRE', record, math.max(call('PTTL', record) or 0, 1)) end
  call('SET', record, value, 'PX', ttl)
  if waited then redis.pcall('PUBLISH', channel, word) end
end
