-- name: cache.invalidate
-- keys: tag (as in generation.lua)
-- args: soft, life, channel, word (1 if what is stored goes stale, 0 if it is gone; ms that it lives at the least, 0: what is absent stays so, which is as invalid; where it is told, and what, empty for nothing; the time is added to it)
-- repeatable: yes
-- returns: at (µs: no generation from before that is good)
-- @check
at = now
-- @commit
local digits = string.rep('%d', 16)
local found = call('GET', tag)
-- @include typed.lua
if not failure then
  local hard, mild, rest = string.match(found or '', '^(' .. digits .. ')%.(' .. digits .. ')(.*)$')
  local left = call('PTTL', tag) or 0
  if left < life + 0 then left = life + 0 end
  if hard then
    -- Above the one before it even where the clock was set back.
    local stamp = (soft == '1' and mild or hard) + 1
    if stamp < now then stamp = now end
    stamp = string.format('%016.0f', stamp)
    if soft == '1' then mild = stamp else hard = stamp end
    if left < 1 then left = 1 end
    call('SET', tag, hard .. '.' .. mild .. rest, 'PX', left)
  elseif left > 0 then
    local stamp = string.format('%016.0f', now)
    call('SET', tag, stamp .. '.' .. stamp, 'PX', left)
  end
end
if word ~= '' then call('PUBLISH', channel, word .. string.format('%016.0f', now)) end
