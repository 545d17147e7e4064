--[[
  Begins to erase a user: notes when, so that nothing older comes back, and erases what is of bounded size. The log
  (erase-log.lua), conversations (erase-conversations.lua) and responses (drop-responses.lua) go in slices.

  KEYS[1]   user          KEYS[2]   edges         KEYS[3]   order of the edges (both of earlier versions)
  KEYS[4]   when the user was erased
  KEYS[5]   salt of the user's vectors

  ARGV[1]   now, milliseconds, on the clock that records are stamped by
  ARGV[2]   how long that is remembered, milliseconds
  ARGV[3]   channel       ARGV[4]   message for it

  Returns how many rows went.
  Bound: 6 calls.
]]
-- DEL first: a full Redis refuses a script whose first write takes memory, and lets one go on that began with this.
local belief = redis.call('HGET', KEYS[1], 'belief')
local rows = redis.call('DEL', KEYS[1]) + redis.call('ZCARD', KEYS[3])
-- It begins with the number of edges.
if belief and #belief > 1 then rows = rows + string.byte(belief, 1) + 256 * string.byte(belief, 2) end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return rows
