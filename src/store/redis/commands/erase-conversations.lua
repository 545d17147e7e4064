--[[
  Erases some of a user's conversations; called until nothing is left, so that Redis is never blocked for long.

  KEYS[1]   conversations of the user: ids by expiry

  ARGV[1]   most conversations          ARGV[2]   user
  ARGV[3]   what a conversation's key starts with ("<user>\n<state>", see batch.lua)
  ARGV[4]   what is newer stays, milliseconds (absent: nothing does)
  ARGV[5]   how many stayed before: they are passed over

  Returns {conversations handled, rows that went, conversations that stay}.
  Deletes keys that are not in KEYS: the conversations, in the same slot.
  Bound: 4 calls.
]]
local passed = tonumber(ARGV[5] or '0')
local ids = redis.call('ZRANGE', KEYS[1], passed, passed + tonumber(ARGV[1]) - 1)
if #ids == 0 then return { 0, 0, 0 } end
local keys, theirs, gone = {}, {}, {}
for i, id in ipairs(ids) do keys[i] = ARGV[3] .. id end -- ARGV[1]
for i, turn in ipairs(redis.call('MGET', unpack(keys))) do -- ARGV[1]
  local owner, state = string.match(turn or '', '^(.*)\n(.*)$')
  local is_newer = owner == ARGV[2] and ARGV[4] and cjson.decode(state).ts > tonumber(ARGV[4])
  if not is_newer then
    gone[#gone + 1] = ids[i]
    if owner == ARGV[2] then theirs[#theirs + 1] = keys[i] end
  end
end
local rows = #theirs > 0 and redis.call('DEL', unpack(theirs)) or 0
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return { #ids, rows, #ids - #gone }
