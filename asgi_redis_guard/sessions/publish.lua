-- name: sessions.publish
-- args: channel, handles (where ends are told; JSON)
-- repeatable: yes
-- @check
-- @commit
for _, handle in ipairs(cjson.decode(handles)) do call('PUBLISH', channel, handle) end
