-- name: jwt.family_begin
-- keys: family, index, generation (the record, see family_read.lua; the families of its user; the generation of its user)
-- args: attempt, name, owner, idle, lifetime, device, session, note (who asks, the same where the reply was lost; the id and the user's digest, both without the tag; ms; ms; marks without colons; text that travels with the family)
-- keeps: text, life
-- returns: state (1 begun, 0 not: it was ended before this, or another has this id), gen (generation of its user), till (when its first token ends, ms since the epoch), ends (when the family does at the latest)
-- repeatable: yes
-- @check
local found, stamp = call('GET', family), floor(now / 1000)
if not found then
  -- Without a generation the time stands for it: after any that Redis had before it lost its data.
  gen = tonumber(string.match(call('GET', generation) or '', '^%d+') or '') or now
  state, ends = 1, stamp + lifetime
  life = math.min(tonumber(idle), tonumber(lifetime))
  till = stamp + life
  local era = gen == now and '' or string.format('%.0f', gen)
  text = string.format('a:1:%s:%.0f:%.0f:%.0f:0:0:', era, now, lifetime, life)
    .. table.concat({ attempt, owner, device, session, string.format('%d', #note), note }, ':')
else
  -- @include family_read.lua
  if standing == 'a' and by == attempt then -- asked again: the reply was lost
    state, gen, ends, till = 1, under + 0, last + 0, due + 0
  end
end
-- @commit
if text then
  local stamp = floor(now / 1000)
  if call('SET', family, text, 'PX', life) then
    -- @include family_enter.lua
    if failure then call('DEL', family) end -- one that is in no index could not be ended with the others
  end
end
