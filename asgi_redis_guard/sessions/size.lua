-- Measure what a record would hold after a write: names and values, as the caller counts them before encryption.
-- takes: record, sealed ('1' where values are encrypted, else empty), words (names to values that are written), gone (names that are deleted, as keys)
-- sets: size (bytes; of what is encrypted up to 4 less for each value, never more)
local function measured(name, length)
  -- Encrypted: a sign, then base64 of 32 bytes more than the text; how it is filled up, its length does not tell.
  if sealed == '1' then length = math.max(floor((length - 1) * 3 / 4) - 34, 0) end
  size = size + #name - 1 + length
end
for name, word in pairs(words) do measured(name, #word) end
for _, name in ipairs(call('HKEYS', record) or {}) do
  if string.sub(name, 1, 1) == '.' and not words[name] and not gone[name] then
    measured(name, call('HSTRLEN', record, name) or 0)
  end
end
