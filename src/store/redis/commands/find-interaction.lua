--[[
  Finds an interaction by its id.

  KEYS[1]   marker (see append-interactions.lua)
  KEYS[2]   stream of interactions

  Returns {"o", summary} while it is on its way, {"e", document or row} when it has ended, nil when it is unknown.
  Bound: 2 calls.
]]
local found = redis.call('GET', KEYS[1])
if not found then return nil end
local state, rest = string.sub(found, 1, 1), string.sub(found, 2)
if state == 'o' then return { 'o', rest } end
local entry = redis.call('XRANGE', KEYS[2], rest, rest)[1]
if not entry then return nil end
for field = 1, #entry[2], 2 do -- the fields of an entry
  if entry[2][field] == 'json' or entry[2][field] == '{}' then return { 'e', entry[2][field + 1] } end
end
return nil
