-- Record what a write has brought about; what cannot be recorded stops nothing.
-- takes: log (JSON: `done` and `denied`, lists of stream, kind and details; `evicted`, one of these, its details in two parts, before and behind the handle; `retention` and `most` as in sessions.record), what (`done` or `denied`), leaving (handles that had to go, or nil), telling (a table)
-- sets: nothing; `telling` gets the id of each event, or in its place the error
local all, events = cjson.decode(log), {}
for _, one in ipairs(leaving or {}) do
  local event = all.evicted
  events[#events + 1] = { event[1], event[2], event[3] .. one .. event[4] }
end
for _, event in ipairs(all[what]) do events[#events + 1] = event end
local retention, most, place, id = all.retention, all.most, '*', nil
for _, event in ipairs(events) do
  local stream, kind, details = event[1], event[2], event[3]
  -- @include append.lua
  telling[#telling + 1] = id or failure
  failure = nil
end
