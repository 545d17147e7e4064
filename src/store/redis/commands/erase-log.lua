--[[
  Erases some of a user's log rows; called until nothing is left, so that Redis is never blocked for long.

  KEYS[1]   log index of the user (see append-interactions.lua)
  KEYS[2]   stream of interactions
  KEYS[3]   stream of rewards
  KEYS[4]   what the tenant's keys start with

  ARGV[1]   most rows
  ARGV[2]   what a marker's key starts with       ARGV[3]   a completion's
  ARGV[4]   a text's                              ARGV[5]   a set of known rewards'
  ARGV[6]   an idempotency key's
  ARGV[7]   what is newer stays, milliseconds (absent: nothing does)
  ARGV[8]   index entries that stayed before: they are passed over

  Returns {index entries handled, rows that went, index entries that stay}.
  Changes keys that are not in KEYS: those of the rows, in the same slot.
  Bound: 2 calls, and 24 an entry for 64 entries.
]]
-- When a row's request began, by its document.
local function time_of(json)
  local document = decoded(json)
  return document.asked_at or document.ts
end

local function read(stream, id)
  local fields = fields_of(stream, id) or {}
  if ARGV[7] and fields.json then fields.ts = time_of(fields.json) end
  return fields
end

-- Other answers may have the same id.
local function forget_completion(key, id)
  local all = {}
  for line in string.gmatch(redis.call('GET', key) or '', '[^\n]+') do -- at most 16, see append-interactions.lua
    if line ~= id and not string.find(line, ' ' .. id .. ' ', 1, true) then all[#all + 1] = line end
  end
  if #all == 0 then redis.call('DEL', key) else redis.call('SET', key, table.concat(all, '\n'), 'KEEPTTL') end
end

local stream_of = { i = KEYS[2], r = KEYS[3] }
local passed = tonumber(ARGV[8] or '0')
local members = redis.call('ZRANGE', KEYS[1], passed, passed + tonumber(ARGV[1]) - 1)
local rows, gone = 0, {}
for _, member in ipairs(members) do -- ARGV[1]
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  local fields = stream_of[kind] and read(stream_of[kind], id) or {}
  if kind == 'o' and ARGV[7] then
    local state = redis.call('GET', ARGV[2] .. id)
    fields.ts = state and string.sub(state, 1, 1) == 'o' and time_of(string.sub(state, 2))
  end
  local is_newer = ARGV[7] and fields.ts and fields.ts > tonumber(ARGV[7])
  if not is_newer then gone[#gone + 1] = member end
  if is_newer then
    -- It stays.
  elseif kind == 'i' then
    if fields.id then redis.call('DEL', ARGV[2] .. fields.id, ARGV[4] .. fields.id) end
    if fields.completion and fields.completion ~= '' then forget_completion(ARGV[3] .. fields.completion, fields.id) end
    if fields.is_in_index then forget_row(KEYS[4], fields, id) end
    rows = rows + redis.call('XDEL', KEYS[2], id)
    -- The copy that may be being made of it (copy-interactions.lua).
    redis.call('XDEL', KEYS[2] .. ':scrubbed', id)
  elseif kind == 'r' then
    if fields.interaction then redis.call('UNLINK', ARGV[5] .. fields.interaction) end
    rows = rows + redis.call('XDEL', KEYS[3], id)
  elseif kind == 'p' then
    rows = rows + redis.call('DEL', ARGV[6] .. id)
  else
    rows = rows + redis.call('DEL', ARGV[2] .. id)
  end
end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return { #members, rows, #members - #gone }
