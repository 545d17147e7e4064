--[[
  Ids of a user's responses, oldest first.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out
  KEYS[2]   ids of the user's, by when they were made

  ARGV[1]   user
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local expires = redis.call('ZSCORE', KEYS[1], id .. '\n' .. ARGV[1])
  if expires and tonumber(expires) > now then ids[#ids + 1] = id end
end
return ids
