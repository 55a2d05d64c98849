-- Choose which sessions of a user have to go, so that one more is not too many.
-- takes: record, index, handle, leaver, cap, excess (as in sessions.create), stamp (now, in ms)
-- sets: state, leaving, evicted (3 if there is no place; the handles of those that go, and the same for the reply)
if cap ~= '' and index ~= record and (call('ZCARD', index) or 0) >= cap + 0 then
  local stem, alive = string.sub(record, 1, #record - #handle), {}
  local ending, at = {}, leaver ~= '' and leaver
  while at do -- what has replaced the leaver ends with it
    ending[at] = true
    at = call('HGET', stem .. at, 'o')
  end
  for _, one in ipairs(call('ZRANGEBYSCORE', index, string.format('(%.0f', stamp), '+inf') or {}) do
    local found = one ~= handle and not ending[one] and call('HGET', stem .. one, 'm')
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
      for _, one in ipairs(leaving) do
        -- @include reach.lua
      end
      evicted = leaving
    end
  end
end
