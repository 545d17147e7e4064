--[[
  Erases some of a user's conversations; called until nothing is left, so that Redis is never blocked for long.

  KEYS[1]   conversations of the user: ids by expiry

  ARGV[1]   most conversations          ARGV[2]   user
  ARGV[3]   what a conversation's key starts with ("<user>\n<state>", see batch.lua)

  Returns {conversations handled, rows that went}.
  Deletes keys that are not in KEYS: the conversations, in the same slot.
  Bound: 4 calls.
]]
local ids = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
if #ids == 0 then return { 0, 0 } end
local keys, theirs = {}, {}
for i, id in ipairs(ids) do keys[i] = ARGV[3] .. id end -- ARGV[1]
for i, turn in ipairs(redis.call('MGET', unpack(keys))) do -- ARGV[1]
  if turn and string.match(turn, '^(.*)\n') == ARGV[2] then theirs[#theirs + 1] = keys[i] end
end
local rows = #theirs > 0 and redis.call('DEL', unpack(theirs)) or 0
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #ids - 1)
return { #ids, rows }
