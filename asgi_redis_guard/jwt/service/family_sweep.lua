-- name: jwt.family_sweep
-- keys: index, families, generation (a user's families; what the keys of their records begin with; the user's generation)
-- args: attempt, cause, what, why, keep, remember (as in jwt.family_revoke; u all, and a new generation, d of a device, s of a session, o all but one; the mark, or the one; ms that the generation is remembered)
-- keeps: fresh, marks
-- returns: gen (the user's generation), handles (of those that ended now: the id without the tag, when it was to end in ms since the epoch, and so on), before (ids of those that had ended in the same way)
-- repeatable: yes
-- @check
local stamp = floor(now / 1000)
local current, bumped_by = string.match(call('GET', generation) or '', '^(%d+):?(.*)$')
gen = tonumber(current or '') or 0
handles, marks = {}, {}
before = {}
local latest = math.max(now, gen)
for _, name in ipairs(call('ZRANGEBYSCORE', index, string.format('%.0f', stamp), '+inf') or {}) do
  local found = call('GET', families .. name)
  -- @include family_read.lua
  local meant = cause == 'u' or (cause == 'd' and machine == what) or (cause == 's' and visit == what)
    or (cause == 'o' and name ~= what)
  if standing == 'a' and meant then
    -- @include family_end.lua
    marks[#marks + 1] = { name, over }
  end
  if standing == 'a' and meant or standing == cause and by == attempt then -- asked again: the reply was lost
    handles[#handles + 1] = name
    handles[#handles + 1] = due + 0
  elseif standing == cause and meant then
    before[#before + 1] = name
  end
  if standing then latest = math.max(latest, under + 0) end
end
if cause == 'u' and bumped_by ~= attempt then
  gen = latest + 1 -- after that of every token, whatever clocks say and whatever was forgotten
  fresh = string.format('%.0f:', gen) .. attempt
end
-- @commit
local stamp, life = floor(now / 1000), keep + 0
if fresh then
  call('PEXPIRE', generation, remember) -- first, as in jwt.family_rotate
  call('SET', generation, fresh, 'PX', remember)
end
for _, mark in ipairs(marks) do
  local name, family = mark[1], families .. mark[1]
  call('PEXPIRE', family, life)
  call('SET', family, mark[2], 'PX', life)
  -- @include family_enter.lua
end
