-- name: idempotency.begin
-- keys: record (P under way, D done, U done and not kept; w if somebody waits, else -; the fingerprint in 20 characters, the token in 16; what is replayed)
-- args: token, fingerprint, lease (ms), inline (bytes of a record that may travel with a round)
-- keeps: fresh
-- returns: state (0 run, 1 replay, 2 under way, 3 another fingerprint, 4 done and not kept, 5 unreadable), left (ms of the lease under way), size (bytes), value (the record, empty if it is larger)
-- repeatable: yes
-- holds: yes
-- @check
value = call('GETRANGE', record, 0, string.format('%.0f', inline - 1)) or ''
local kind = string.match(value, '^([PDU])[-w]')
if value == '' then
  fresh = true
elseif not kind or #value < 38 then
  state = 5
elseif string.sub(value, 3, 22) ~= fingerprint then
  state = 3
elseif kind == 'D' then
  state = 1
  size = call('STRLEN', record) or 0
elseif kind == 'U' then
  state = 4
elseif string.sub(value, 23, 38) ~= token then -- its own: asked again, the reply was lost
  state = 2
  left = call('PTTL', record) or 0
end
stop = state ~= 0
if (state ~= 1 and state ~= 4) or size > inline + 0 then value = '' end
-- @commit
if fresh then
  call('SET', record, 'P-' .. fingerprint .. token, 'PX', lease)
else
  call('PEXPIRE', record, lease)
end
