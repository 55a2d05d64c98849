-- Make the record of a family that ends now.
-- takes: what family_read.lua sets, cause (how it stands then), attempt, why
-- sets: over (the record)
local over = table.concat({ cause, serial, era, begun, to_last, to_due, to_turn, again, attempt, whose, machine, visit, size,
  string.sub(rest, 1, size + 0) }, ':') .. why
