--[[
  Takes rows out of a log, and what is kept beside them: they are archived.

  KEYS[1]   stream of interactions, or of rewards
  KEYS[2]   what the tenant's keys start with

  ARGV[1]   "i" interactions, "r" rewards
  then the ids of their entries

  Returns the number of rows that went.
  Changes keys that are not in KEYS, in the same slot: those of the rows (see append-interactions.lua).
  Bound: 0 calls, and 7 an entry for 64 entries.
]]
local prefix = KEYS[2]
local gone = 0

-- Earlier releases kept halves of characters, whose escapes the reader of JSON refuses. A backslash may be one itself.
local function decoded(json)
  if string.find(json, '\\u[dD]') then
    json = string.gsub(json, '\\(.)(%x?%x?%x?%x?)', function(kind, digits)
      if kind == 'u' and string.find(digits, '^[dD][89a-fA-F]') then return '\239\191\189' end -- U+FFFD
    end)
  end
  return cjson.decode(json)
end

-- Other answers may have the same id.
local function forget_completion(key, id)
  local all = {}
  for line in string.gmatch(redis.call('GET', key) or '', '[^\n]+') do -- at most 16, see append-interactions.lua
    if line ~= id and not string.find(line, ' ' .. id .. ' ', 1, true) then all[#all + 1] = line end
  end
  if #all == 0 then redis.call('DEL', key) else redis.call('SET', key, table.concat(all, '\n'), 'KEEPTTL') end
end

for i = 2, #ARGV do -- the batch
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    local fields = {}
    for j = 1, #entry[2], 2 do fields[entry[2][j]] = entry[2][j + 1] end -- the fields of an entry
    if fields['{}'] then -- a row: it begins with its id, its tenant, its user, its completion's id
      local row = decoded(fields['{}'])
      fields.id, fields.user, fields.completion = row[1], row[3], row[4] ~= cjson.null and row[4] or nil
    end
    gone = gone + redis.call('XDEL', KEYS[1], ARGV[i])
    if fields.user then redis.call('ZREM', prefix .. 'user-log:' .. fields.user, ARGV[1] .. ':' .. ARGV[i]) end
    if fields.id then redis.call('DEL', prefix .. 'interaction:' .. fields.id, prefix .. 'text:' .. fields.id) end
    if fields.completion and fields.completion ~= '' then
      forget_completion(prefix .. 'completion:' .. fields.completion, fields.id)
    end
    if fields.interaction then redis.call('UNLINK', prefix .. 'known-rewards:' .. fields.interaction) end
  end
end
return gone
