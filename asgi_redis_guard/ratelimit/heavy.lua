-- Counts in sorted sets that keep the heaviest: a new member of a full one takes the lightest one's place and count.
-- takes: most, life, labels (how many are kept; ms; a hash of what they are called)
-- sets: heavy (a function of set, member and what to add; "space saving" by Metwally and others)
local function heavy(set, who, count)
  if not call('ZSCORE', set, who) and (call('ZCARD', set) or 0) >= most + 0 then
    local lightest = call('ZPOPMIN', set) or {}
    count = count + (tonumber(lightest[2]) or 0)
    if lightest[1] then call('HDEL', labels, lightest[1]) end
  end
  call('ZINCRBY', set, count, who)
  call('PEXPIRE', set, life)
end
