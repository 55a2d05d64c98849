-- Read the record of a refresh family.
-- takes: found (the record; false for none)
-- sets: standing (nil for no record, and for what is none), serial, under, begun, last, due, turned, again, by, whose, machine, visit, size, rest
-- A record is text, its parts divided by colons: how it stands; the number of its newest token; the generation of its user;
-- when it began (µs since the epoch); when it ends at the latest, when that token does, and when that was made (ms);
-- how often its former token came again; who asked for that token, or ended it; its user, in what the digest has beyond
-- the tag; marks of device and session; the length of the note; the note, and behind it why it ended.
-- It stands: a alive; over by x reuse, f itself, u its user, d its device, s its session, o all but one.
local standing, serial, under, begun, last, due, turned, again, by, whose, machine, visit, size, rest = string.match(
  found or '', '^([axfudso]):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):([^:]*):([^:]*):([^:]*):([^:]*):(%d+):(.*)$')
