-- name: sessions.rotate
-- keys: old, former, past, record, index, notes (what is replaced, its index and notes; what replaces it, its index and notes, as in sessions.create)
-- args: leaver, handle, set, expected, lifetime, overlap, note, cap, excess (members of the indexes; as in sessions.save; empty keeps the end; ms; as in sessions.create, for a user who was not in the session before)
-- keeps: times, deadline, left, leaving, last
-- returns: state, version, ends, stamp, evicted, remains (as in sessions.save, 3: too many; as in sessions.create; when the last session ends that the former user still has, 0 if there is none; ms)
-- @check
local found = call('HMGET', old, 'm', 'o')
stamp = floor(now / 1000)
if found and found[1] and not found[2] then
  local created, before, idle, _, count = string.match(found[1], '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  version = tonumber(count)
  if expected ~= '' and expected + 0 ~= version then
    state = 2
  else
    state = 1
    if cap ~= '' and index ~= record and index ~= former and (call('ZCARD', index) or 0) >= cap + 0 then
      local stem, alive = string.sub(record, 1, #record - #handle), {}
      for _, one in ipairs(call('ZRANGEBYSCORE', index, string.format('(%.0f', stamp), '+inf') or {}) do
        local found = one ~= handle and call('HGET', stem .. one, 'm')
        if found then
          local created, touched = string.match(found, '^(%d+):%d+:%d+:(%d+)')
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
  end
  if state == 1 then
    version = version + 1
    ends = before + 0
    if lifetime ~= '' then
      ends = stamp + lifetime
      created = string.format('%.0f', stamp)
    end
    deadline = stamp + idle
    if deadline > ends then deadline = ends end
    last = string.format('%.0f', ends)
    times = string.format('%s:%s:%s:%.0f:%.0f', created, last, idle, stamp, version)
    left = call('PTTL', old)
    if former ~= old then
      local latest = call('ZREVRANGEBYSCORE', former, '+inf', string.format('(%.0f', stamp), 'WITHSCORES', 'LIMIT', 0, 2) or {}
      remains = tonumber(latest[1] == leaver and latest[4] or latest[1] ~= leaver and latest[2] or 0)
    end
  end
end
-- @commit
if times then
  call('HSET', record, 'm', times)
  call('PEXPIREAT', record, deadline)
  for name, word in pairs(cjson.decode(set)) do call('HSET', record, name, word) end
  if failure then
    call('DEL', record)
  else
    local stamp = floor(now / 1000)
    local stem = string.sub(record, 1, #record - #handle)
    local stays = former == index and call('HGET', past, leaver)
    if overlap + 0 > 0 then
      call('HSET', old, 'o', handle)
      if former == index then call('HSET', record, 'p', leaver) end -- whoever ends this one ends that one too
      if left < 0 or left > overlap + 0 then call('PEXPIRE', old, overlap) end
    else
      call('DEL', old)
    end
    if former ~= old then
      call('ZREM', former, leaver)
      call('HDEL', past, leaver)
    end
    if index ~= record then
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
      call('HSET', notes, handle, stays or note) -- where the user came in, not where the id was changed
      if (call('PTTL', notes) or 0) < last - stamp then call('PEXPIREAT', notes, last) end
      call('ZADD', index, deadline, handle)
      if (call('PTTL', index) or 0) < deadline - stamp then call('PEXPIREAT', index, deadline) end
    end
  end
end
