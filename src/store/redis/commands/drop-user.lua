--[[
  Drops what was learned and stated of a user who has not been here for long. The log has a time of its own.

  KEYS[1]   user      KEYS[2]   edges     KEYS[3]   order of the edges
  ARGV[1]   users who were here since then stay, milliseconds
  ARGV[2]   channel   ARGV[3]   message for it
  ARGV[4]   only with this revision (absent: with any)

  Returns 1, or 0 when the user stays.
  Bound: 3 calls.
]]
local user = redis.call('HMGET', KEYS[1], 'updated_at', 'revision')
if not user[1] or tonumber(user[1]) >= tonumber(ARGV[1]) then return 0 end
if ARGV[4] and tonumber(user[2]) ~= tonumber(ARGV[4]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
