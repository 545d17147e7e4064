--[[
  Erases some of a user's log rows; called until nothing is left, so that Redis is never blocked for long.

  KEYS[1]   log index of the user (see append-interactions.lua)
  KEYS[2]   stream of interactions
  KEYS[3]   stream of rewards

  ARGV[1]   most rows
  ARGV[2]   what a marker's key starts with       ARGV[3]   a completion's
  ARGV[4]   a text's                              ARGV[5]   a set of known rewards'
  ARGV[6]   an idempotency key's

  Returns {index entries handled, rows that went}.
  Changes keys that are not in KEYS: those of the rows, in the same slot.
  Bound: 2 calls, and 6 an entry for 64 entries.
]]
local function fields_of(stream, id)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local fields = {}
  if entry then
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end -- the fields of an entry
    if fields['{}'] then -- a row: it begins with its id, its tenant, its user, its completion's id
      local row = cjson.decode(fields['{}'])
      fields.id, fields.completion = row[1], row[4] ~= cjson.null and row[4] or nil
    end
  end
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

local members = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
local rows = 0
for _, member in ipairs(members) do -- ARGV[1]
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  if kind == 'i' then
    local fields = fields_of(KEYS[2], id)
    if fields.id then redis.call('DEL', ARGV[2] .. fields.id, ARGV[4] .. fields.id) end
    if fields.completion and fields.completion ~= '' then forget_completion(ARGV[3] .. fields.completion, fields.id) end
    rows = rows + redis.call('XDEL', KEYS[2], id)
    -- The copy that may be being made of it (copy-interactions.lua).
    redis.call('XDEL', KEYS[2] .. ':scrubbed', id)
  elseif kind == 'r' then
    local fields = fields_of(KEYS[3], id)
    if fields.interaction then redis.call('UNLINK', ARGV[5] .. fields.interaction) end
    rows = rows + redis.call('XDEL', KEYS[3], id)
  elseif kind == 'p' then
    rows = rows + redis.call('DEL', ARGV[6] .. id)
  else
    rows = rows + redis.call('DEL', ARGV[2] .. id)
  end
end
if #members > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #members - 1) end
return { #members, rows }
