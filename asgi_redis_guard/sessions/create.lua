-- name: sessions.create
-- keys: record, index, notes (as in sessions.save; of its user's sessions where they began, by handle)
-- args: handle, set, idle, lifetime, note, cap, excess, leaver (as in sessions.save; ms; ms; 20 characters for the device, then JSON; most sessions of a user, empty for any number; evict_oldest, evict_lru or deny; a session that ends with this, not counted)
-- keeps: deadline, leaving
-- returns: ends, stamp, state, evicted (when it ends at the latest; the server's time; ms; 1 made, 3 too many; the handles that had to go, 0 for none)
-- repeatable: yes
-- @check
stamp = floor(now / 1000)
ends = stamp + lifetime
state = 1
if cap ~= '' and index ~= record and (call('ZCARD', index) or 0) >= cap + 0 then
  local stem, alive = string.sub(record, 1, #record - #handle), {}
  for _, one in ipairs(call('ZRANGEBYSCORE', index, string.format('(%.0f', stamp), '+inf') or {}) do
    local times = one ~= handle and one ~= leaver and call('HGET', stem .. one, 'm')
    if times then
      local created, touched = string.match(times, '^(%d+):%d+:%d+:(%d+)')
      alive[#alive + 1] = { tonumber(excess == 'evict_lru' and touched or created), one }
    end
  end
  if #alive >= cap + 0 then
    if excess == 'deny' then
      state = 3
    else
      table.sort(alive, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
      leaving = {}
      for i = 1, #alive - cap + 1 do leaving[i] = alive[i][2] end
      evicted = leaving
    end
  end
end
if state == 1 then
  deadline = stamp + idle
  if deadline > ends then deadline = ends end
end
-- @commit
if deadline then
  local stamp = floor(now / 1000)
  local ends = string.format('%.0f', stamp + lifetime)
  call('HSET', record, 'm', string.format('%.0f:%s:%s:%.0f:1', stamp, ends, idle, stamp))
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  elseif index ~= record then
    local stem = string.sub(record, 1, #record - #handle)
    for _, one in ipairs(leaving or {}) do
      local before = call('HGET', stem .. one, 'p')
      while before do -- what it replaced can be read for its overlap
        local older = stem .. before
        before = call('HGET', older, 'p')
        call('DEL', older)
      end
      call('DEL', stem .. one)
      call('HSET', stem .. one, 'e', 'evicted')
      call('PEXPIRE', stem .. one, 3600000) -- long enough to be told why
      call('ZREM', index, one)
      call('HDEL', notes, one)
    end
    local dead = call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', stamp)) or {}
    for _, one in ipairs(dead) do
      call('ZREM', index, one)
      call('HDEL', notes, one)
    end
    if call('ZCARD', index) == 0 then call('DEL', notes) end -- the index may have expired as a whole
    call('HSET', notes, handle, note)
    if (call('PTTL', notes) or 0) < ends - stamp then call('PEXPIREAT', notes, ends) end
    call('ZADD', index, deadline, handle)
    if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
  end
end
