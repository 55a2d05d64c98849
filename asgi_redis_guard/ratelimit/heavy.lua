-- Counts in sorted sets that keep the heaviest: a new member of a full one takes the lightest one's place and count.
-- takes: most, life, busiest, refusals, labels (how many are kept; ms; both sets; a hash of what they are called)
-- sets: heavy (a function of set, member and what to add; "space saving" by Metwally and others)
local function heavy(set, who, count)
  if not call('ZSCORE', set, who) and (call('ZCARD', set) or 0) >= most + 0 then
    local lightest = call('ZPOPMIN', set) or {}
    local gone = lightest[1]
    count = count + (tonumber(lightest[2]) or 0)
    if gone and not call('ZSCORE', set == busiest and refusals or busiest, gone) then call('HDEL', labels, gone) end
  end
  call('ZINCRBY', set, count, who)
  call('PEXPIRE', set, life)
end
