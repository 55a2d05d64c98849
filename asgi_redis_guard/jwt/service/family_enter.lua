-- Put a family into its user's index, for as long as its record is kept, and take out what is over.
-- takes: index, name (the family in the index), stamp (now in ms), life (ms of its record)
-- sets: nothing
call('ZADD', index, stamp + life, name)
call('ZREMRANGEBYSCORE', index, '-inf', string.format('(%.0f', stamp))
if (call('PTTL', index) or 0) < life then call('PEXPIRE', index, life) end
