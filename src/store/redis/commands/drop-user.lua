--[[
  Drops what was learned and stated of a user who has not been here for long. The log has a time of its own.

  KEYS[1]   user      KEYS[2]   edges     KEYS[3]   order of the edges
  ARGV[1]   users who were here since then stay, milliseconds
  ARGV[2]   channel   ARGV[3]   message for it

  Returns 1, or 0 when the user stays.
  Bound: 3 calls.
]]
local at = redis.call('HGET', KEYS[1], 'updated_at')
if not at or tonumber(at) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
