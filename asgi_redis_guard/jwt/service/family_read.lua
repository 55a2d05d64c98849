-- Read the record of a refresh family.
-- takes: found (the record; false for none)
-- sets: standing (nil for no record, and for what is none), serial, under, begun, last, due, turned, again, by, whose, machine, visit, size, rest; and as they stand in the record: era, to_last, to_due, to_turn
-- A record is text, its parts divided by colons: how it stands; the number of its newest token; the generation of its user,
-- nothing where that is when it began; when it began (µs since the epoch); in ms from then, when it ends at the latest,
-- when that token does, and when that was made; how often its former token came again; who asked for that token, or
-- ended it; its user, in what the digest has beyond the tag; marks of device and session; the length of the note; the
-- note, and behind it why it ended.
-- It stands: a alive; over by x reuse, f itself, u its user, d its device, s its session, o all but one.
local standing, serial, era, begun, to_last, to_due, to_turn, again, by, whose, machine, visit, size, rest = string.match(
  found or '',
  '^([axfudso]):(%d+):(%d*):(%d+):(%-?%d+):(%-?%d+):(%-?%d+):(%d+):([^:]*):([^:]*):([^:]*):([^:]*):(%d+):(.*)$')
local under, last, due, turned = era, 0, 0, 0
if standing then
  local since = floor(begun / 1000)
  if era == '' then under = begun end
  last, due, turned = since + to_last, since + to_due, since + to_turn
end
