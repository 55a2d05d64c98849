-- name: jwt.token
-- keys: mark (a string: present while this one token is revoked)
-- repeatable: yes
-- @check
if call('EXISTS', mark) == 1 then stop = true end
