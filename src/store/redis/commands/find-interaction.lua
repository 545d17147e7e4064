--[[
  Finds an interaction by its id.

  KEYS[1]   what the tenant's keys start with (see append-interactions.lua)

  ARGV[1]   id
  ARGV[2]   its time, milliseconds; "": where it is in no id, slice by slice is asked, the newest first
  ARGV[3]   how many slices were asked

  Returns {"o", summary} while it is on its way; {"e", document or row, what the row shares or "", the bytes beside it
  or ""} when it has ended; nil when it is unknown; how many slices were asked, where there may be more.
  Bound: 3 calls, and 41 a slice for 32 slices.
]]
local MOST_SLICES = 32
local prefix, id = KEYS[1], ARGV[1]
local function of(entry)
  local fields = fields_of(prefix .. 'interactions', entry)
  if not fields or fields.id ~= id then return nil end
  local shared = fields.row and shared_of(prefix, fields.values)
  if shared == false then return nil end
  return { 'e', fields.row or fields.json, shared or '', fields.b or '' }
end

if ARGV[3] == '0' then
  local marker = redis.call('GET', prefix .. 'interaction:' .. id)
  if marker and string.sub(marker, 1, 1) == 'o' then return { 'o', string.sub(marker, 2) } end
  if marker then return of(string.sub(marker, 2)) end
end
local slices = ARGV[2] ~= '' and { slice_of(tonumber(ARGV[2])) }
  or redis.call('ZREVRANGE', prefix .. 'index', ARGV[3], ARGV[3] + MOST_SLICES - 1)
for _, slice in ipairs(slices) do -- MOST_SLICES
  for _, entry in ipairs(refs_of(prefix, slice, 'i:' .. id)) do -- MOST_REFS
    local found = of(entry)
    if found then return found end
  end
end
return #slices == MOST_SLICES and ARGV[3] + #slices or nil
