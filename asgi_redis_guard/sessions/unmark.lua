-- name: sessions.unmark
-- keys: mark (as in sessions.reused)
-- keeps: is_there
-- returns: taken (1 for whoever takes the mark away, 0 where there is none)
-- Takes the mark of an id whose user's events lie in another slot; they are written after it, once.
-- @check
is_there = call('EXISTS', mark) == 1
taken = is_there and 1 or 0
-- @commit
if is_there then call('DEL', mark) end
