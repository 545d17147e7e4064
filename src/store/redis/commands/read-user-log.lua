--[[
  Reads a user's rows of one stream, by the user's log index rather than by walking the stream.

  KEYS[1]   log index of the user (see append-interactions.lua)
  KEYS[2]   stream of interactions, or of rewards
  ARGV[1]   "i" or "r": which of the index's entries lead to that stream
  ARGV[2]   how many index entries to skip      ARGV[3]   most index entries to read

  Returns the number of index entries read, then each document or row, and the bytes beside it (or "").
  Bound: 1 call, and 1 an entry for 64 entries.
]]
local members = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + ARGV[3] - 1)
local reply = { #members }
for _, member in ipairs(members) do -- ARGV[3]
  if string.sub(member, 1, 1) == ARGV[1] then
    local id = string.sub(member, 3)
    local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
    local json, bytes = nil, ''
    for field = 1, entry and #entry[2] or 0, 2 do -- the fields of an entry
      local name, value = entry[2][field], entry[2][field + 1]
      if name == 'json' or name == '{}' or name == '{ }' then json = value end
      if name == 'b' then bytes = value end
    end
    if json then
      reply[#reply + 1] = json
      reply[#reply + 1] = bytes
    end
  end
end
return reply
