--[[
  Ids of some of a user's responses, oldest first.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out
  KEYS[2]   ids of the user's, by when they were made

  ARGV[1]   user
  ARGV[2]   how many to skip            ARGV[3]   most to read

  Returns the number that were read, then the ids of those that have not run out.
  Bound: 2 calls, and 1 an id for 64 ids.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGE', KEYS[2], ARGV[2], ARGV[2] + ARGV[3] - 1)
local reply = { #ids }
for _, id in ipairs(ids) do -- ARGV[3]
  local expires = redis.call('ZSCORE', KEYS[1], id .. '\n' .. ARGV[1])
  if expires and tonumber(expires) > now then reply[#reply + 1] = id end
end
return reply
