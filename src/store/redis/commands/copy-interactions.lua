--[[
  Copies a slice of the log, with other documents, under the same ids: entries of a stream can't be changed. What is
  erased meanwhile is erased in the copy, too (erase-log.lua). The last slice puts the copy in the stream's place.

  KEYS[1]   stream of interactions
  KEYS[2]   copy so far
  ARGV[1]   how many entries from the copy's end on were read; then for each, in order: its id, the new document or ""

  Returns 1 when the copy is whole and stands in the stream's place, else 0.
  Bound: 5 calls, and 2 an entry for 64 entries.
]]
local MOST_NEW = 64 -- that came since the slice was read
local function copy(id, json)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then return end
  local fields = entry[2]
  if json ~= '' then
    for i = 1, #fields, 2 do -- four fields
      if fields[i] == 'json' then fields[i + 1] = json end
    end
  end
  redis.call('XADD', KEYS[2], id, unpack(fields))
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
for at = 2, #ARGV, 2 do -- the slice
  copy(ARGV[at], ARGV[at + 1])
  last = { ARGV[at] }
end
if tonumber(ARGV[1]) >= MOST_NEW then return 0 end
-- Nothing was left to read: what came since is clean.
local from = last and '(' .. last[1] or '-'
local new = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', MOST_NEW)
if #new == MOST_NEW then return 0 end
for _, entry in ipairs(new) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end -- MOST_NEW
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end
return 1
