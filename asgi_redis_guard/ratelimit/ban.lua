-- name: ratelimit.ban
-- keys: strikes (a string: until when the ban lasts, µs, how many there were, breaches, since when they are counted, µs)
-- args: after, within, lasts, factor, longest, hidden (breaches; µs; µs; times as long each time; µs; breaches not told yet)
-- keeps: ends, level, breaches, since
-- stops: limits
-- repeatable: yes
-- returns: retry_after (µs until the ban is over, 0 if there is none)
-- @check
local first, second, third, fourth = string.match(call('GET', strikes) or '', '^(%d+):(%d+):(%d+):(%d+)$')
ends, level = tonumber(first or 0), tonumber(second or 0)
breaches, since = tonumber(third or 0), tonumber(fourth or now)
if now < ends then
  stop = true
  retry_after = ends - now
end
-- @commit
local more = hidden + (refused and 1 or 0)
if more > 0 then
  if now >= since + within then breaches, since = 0, now end
  if now >= ends + longest then level = 0 end
  breaches = breaches + more
  local memory = since + within - now
  if breaches >= after + 0 then
    local length = lasts * factor ^ level
    if length > longest + 0 then length = longest + 0 end
    ends, level, breaches, since = now + length, level + 1, 0, now
  end
  -- How often it was banned is remembered for as long as the longest ban after the last one.
  if ends + longest > now + memory then memory = ends + longest - now end
  call('SET', strikes, string.format('%.0f:%.0f:%.0f:%.0f', ends, level, breaches, since), 'PX', ceil(memory / 1000))
end
