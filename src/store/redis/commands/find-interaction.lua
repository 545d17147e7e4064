--[[
  Finds an interaction by its id, or by the id that the provider gave the completion.

  KEYS[1]   marker, if the id is ours (see append-interactions.lua)
  KEYS[2]   completion id -> interaction id, if it is the provider's
  KEYS[3]   stream of interactions
  ARGV[1]   what a marker's key starts with

  Returns {"o", summary} while it is on its way, {"e", document} when it has ended, nil when it is unknown.
  Reads one key that is not in KEYS: the marker that KEYS[2] leads to, in the same slot.
]]
local found = redis.call('GET', KEYS[1])
if not found then
  local id = redis.call('GET', KEYS[2])
  if id then found = redis.call('GET', ARGV[1] .. id) end
end
if not found then return nil end
local state, rest = string.sub(found, 1, 1), string.sub(found, 2)
if state == 'o' then return { 'o', rest } end
local entry = redis.call('XRANGE', KEYS[3], rest, rest)[1]
if not entry then return nil end
for field = 1, #entry[2], 2 do
  if entry[2][field] == 'json' then return { 'e', entry[2][field + 1] } end
end
return nil
