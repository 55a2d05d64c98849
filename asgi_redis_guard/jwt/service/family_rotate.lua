-- name: jwt.family_rotate
-- keys: family, indexes, generations (the record, see family_read.lua; what the keys of its user's index and generation begin with)
-- args: presented, attempt, grace, most, idle, lifetime, keep, name (number of the token; as in jwt.family_begin; ms from the first use in which it may come again, and how often; ms; ms; ms that one that is over is remembered; as in jwt.family_begin)
-- keeps: text, life, index, dead
-- returns: verdict (0 unknown, 1 rotated, 2 the same again, 3 reused: ended now, 4 revoked before, 5 expired), number (of the token that is good now), gen (generation of its user), was, till (when the token was to end, ms since the epoch, and when the good one does), ends, born (when the family began, µs), replays (how often the former one came again), note, ended_by, why (how a family that is over stands, and why)
-- repeatable: yes
-- @check
local found, stamp = call('GET', family), floor(now / 1000)
-- @include family_read.lua
if standing then
  number, gen, born, ends, replays = serial + 0, under + 0, begun + 0, last + 0, again + 0
  note = string.sub(rest, 1, size + 0)
  if standing ~= 'a' then ended_by, why = standing, string.sub(rest, size + 1) end
  index = indexes .. whose
  was, ends = due + 0, math.min(ends, floor(born / 1000) + lifetime) -- an option that was made shorter holds at once
  till = math.min(was, turned + idle, ends)
  local current = tonumber(string.match(call('GET', generations .. whose) or '', '^%d+') or '') or 0
  local asked, fresh = presented + 0, turned + 0
  if standing == 'x' and by == attempt then -- asked again, here and below: the reply was lost
    verdict = 3
  elseif standing ~= 'a' or current > gen then
    verdict = 4
  elseif stamp >= till then
    verdict, dead = 5, true
  elseif by == attempt and asked == number - 1 then
    verdict = 1
  elseif asked >= number then -- one from before the server lost what was written last is good: none but us made it
    verdict, number, replays, fresh = 1, asked + 1, 0, stamp
    till = math.min(stamp + idle, ends)
  elseif asked == number - 1 and math.abs(stamp - turned) < grace + 0 and replays < most + 0 then
    verdict, replays, attempt = 2, replays + 1, by
  else
    verdict, life = 3, keep + 0
    local cause, why = 'x', ''
    -- @include family_end.lua
    text = over
  end
  if (verdict == 1 and asked >= serial + 0) or verdict == 2 then
    life = till - stamp
    local since = floor(born / 1000)
    text = string.format('a:%.0f:%s:%.0f:%.0f:%.0f:%.0f:%.0f:', number, era, born, ends - since, till - since,
      fresh - since, replays)
      .. table.concat({ attempt, whose, machine, visit, size, rest }, ':')
  end
end
-- @commit
local stamp = floor(now / 1000)
if text then
  -- First what full memory does not refuse: what a script writes after that is not refused either.
  call('PEXPIRE', family, life)
  call('SET', family, text, 'PX', life)
  -- @include family_enter.lua
elseif dead then
  call('DEL', family)
  call('ZREM', index, name)
end
