--[[
  Takes rows out of a log, and what is kept beside them: they are archived.

  KEYS[1]   stream of interactions, or of rewards
  KEYS[2]   what the tenant's keys start with

  ARGV[1]   "i" interactions, "r" rewards
  then the ids of their entries

  Returns the number of rows that went.
  Changes keys that are not in KEYS, in the same slot: those of the rows (see append-interactions.lua).
  Bound: 0 calls, and 24 an entry for 64 entries.
]]
local prefix = KEYS[2]
local gone = 0

-- Other answers may have the same id.
local function forget_completion(key, id)
  local all = {}
  for line in string.gmatch(redis.call('GET', key) or '', '[^\n]+') do -- at most 16, see append-interactions.lua
    if line ~= id and not string.find(line, ' ' .. id .. ' ', 1, true) then all[#all + 1] = line end
  end
  if #all == 0 then redis.call('DEL', key) else redis.call('SET', key, table.concat(all, '\n'), 'KEEPTTL') end
end

for i = 2, #ARGV do -- the batch
  local fields = fields_of(KEYS[1], ARGV[i])
  if fields then
    gone = gone + redis.call('XDEL', KEYS[1], ARGV[i])
    if fields.user then redis.call('ZREM', prefix .. 'user-log:' .. fields.user, ARGV[1] .. ':' .. ARGV[i]) end
    if fields.id then redis.call('DEL', prefix .. 'interaction:' .. fields.id, prefix .. 'text:' .. fields.id) end
    if fields.completion and fields.completion ~= '' then
      forget_completion(prefix .. 'completion:' .. fields.completion, fields.id)
    end
    if fields.is_in_index then forget_row(prefix, fields, ARGV[i]) end
    if fields.interaction then redis.call('UNLINK', prefix .. 'known-rewards:' .. fields.interaction) end
  end
end
return gone
