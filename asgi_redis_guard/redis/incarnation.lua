-- Look whether a server still has the data that a process knows, and put down for all where it has not.
-- KEYS: 1 = the record of the incarnation (hash): id; until (by when all has ended that must not be forgotten); lost (by
--       when all has ended that was lost, 0 where nothing was); need (when the last of that may have been written);
--       upto (what was written up to then, before this incarnation, is here); unheld (by when all has ended that nobody
--       can give back, for no mirror holds it: what stands under keys with a tag); wrote:<process> (when the last was
--       written that this process itself can give back); beat, at (a number that looks make larger, once a second, and
--       when that was last). Times in ms since the epoch; need, upto and wrote in µs, for two may be written in one ms
-- ARGV: 1 = the id that is known, or ''; 2, 3 = its until and its need; 4 = how long what is to be written lives, ms from
--       now, or 0; 5 = by when that has ended, or 0; 6 = an id for a record that has to be made; 7 = the unheld that is
--       known; 8 = '1' where what is to be written is so; 9 = when this process has written last what it can give back (µs);
--       10 = the process; 11 = the beat that is known
-- returns: id ('' where there is no record), until, lost, now, 1 where the record says so (0: it could not be written),
--          unheld, upto, beat
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'id', 'until', 'lost', 'need', 'upto', 'unheld', 'beat', 'at')
local id, ends, lost = found[1] or '', tonumber(found[2] or 0), tonumber(found[3] or 0)
local need, upto, unheld = tonumber(found[4] or 0), tonumber(found[5] or 0), tonumber(found[6] or 0)
local known, known_ends, known_need = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, mine = tonumber(ARGV[9]), false
local before = string.format('%s %.0f %.0f %.0f %.0f %.0f', id, ends, lost, need, upto, unheld)
local beat, at = tonumber(found[7] or 0), tonumber(found[8] or 0)
if lost <= now then lost = 0 end
-- Of an older time than what was known: the server came back with an old copy. What a replica lags behind is no loss.
if known ~= '' and known == id and known_ends > now and tonumber(ARGV[11]) > beat + 5 then id, upto = '', 0 end
if known ~= '' and known ~= id and known_ends > now and (id == '' or lost > 0 or math.max(known_need, held) > upto) then
  -- Not what was known, and nobody says that it is all here.
  if id == '' then id = ARGV[6] end
  mine = held > upto
  lost, need, unheld = math.max(lost, known_ends), math.max(need, known_need), math.max(unheld, tonumber(ARGV[7]))
end
local wanted = tonumber(ARGV[5])
if tonumber(ARGV[4]) > 0 then wanted = math.max(wanted, now + ARGV[4]) end
if ARGV[8] == '1' and wanted > now then unheld = math.max(unheld, wanted) end
wanted = math.max(wanted, lost)
if known ~= '' and known == id then -- it may have taken over without the last writes
  wanted, unheld = math.max(wanted, known_ends), math.max(unheld, tonumber(ARGV[7]))
end
if wanted > ends and wanted > now then
  ends = wanted
  if id == '' then id = ARGV[6] end
end
local written = 1
if before ~= string.format('%s %.0f %.0f %.0f %.0f %.0f', id, ends, lost, need, upto, unheld) and id ~= '' then
  redis.pcall('PERSIST', KEYS[1]) -- first what full memory does not refuse: what a script writes after that is not either
  local set = redis.pcall('HSET', KEYS[1], 'id', id, 'until', string.format('%.0f', ends), 'lost', string.format('%.0f', lost),
    'need', string.format('%.0f', need), 'upto', string.format('%.0f', upto), 'unheld', string.format('%.0f', unheld))
  if type(set) == 'table' and set.err then
    if string.find(tostring(set.err), 'READONLY') then return redis.error_reply('READONLY a replica') end
    written = 0
  end
  if mine then redis.pcall('HSET', KEYS[1], 'wrote:' .. ARGV[10], string.format('%.0f', held)) end
  redis.pcall('PEXPIREAT', KEYS[1], string.format('%.0f', ends))
end
if id ~= '' and written == 1 and (now >= at + 1000 or now < at) then
  local set = redis.pcall('HSET', KEYS[1], 'beat', string.format('%.0f', beat + 1), 'at', string.format('%.0f', now))
  if type(set) ~= 'table' or not set.err then beat = beat + 1 end
end
return { id, ends, lost, now, written, unheld, upto, beat }
