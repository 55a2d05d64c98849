-- name: jwt.mark
-- keys: mark (a string: present while this one token, or this login, is revoked)
-- repeatable: yes
-- @check
if call('EXISTS', mark) == 1 then stop = true end
