--[[
  Erases a user but for the log rows (erase-log.lua does those), and notes when, so that older records do not come back.

  KEYS[1]   user          KEYS[2]   edges         KEYS[3]   order of the edges
  KEYS[4]   conversations of the user: ids by expiry
  KEYS[5]   when the user was erased
  KEYS[6]   salt of the user's vectors

  ARGV[1]   now, milliseconds, on the clock that records are stamped by
  ARGV[2]   how long that is remembered, milliseconds
  ARGV[3]   user
  ARGV[4]   what a conversation's key starts with ("<user>\n<state>", see batch.lua)
  ARGV[5]   channel       ARGV[6]   message for it

  Returns how many rows went. Deletes keys that are not in KEYS: the conversations, in the same slot.
]]
-- DEL first: a full Redis refuses a script whose first write takes memory, and lets one go on that began with this.
local rows = redis.call('DEL', KEYS[1]) + redis.call('ZCARD', KEYS[3])
redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[2])
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  local key = ARGV[4] .. id
  local turn = redis.call('GET', key)
  if turn and string.match(turn, '^(.*)\n') == ARGV[3] then rows = rows + redis.call('DEL', key) end
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[6])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return rows
