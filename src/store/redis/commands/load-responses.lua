--[[
  Responses of a user.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out

  ARGV[1]   user          ARGV[2]   what a response's key starts with (see save-response.lua)
  then the ids

  Returns one for each id: the response, or false. Reads keys that are not in KEYS: the responses, in the same slot.
  Bound: 1 call, and 2 an id for 64 ids.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for i = 3, #ARGV do -- the ids
  local member = ARGV[i] .. '\n' .. ARGV[1]
  local expires = redis.call('ZSCORE', KEYS[1], member)
  found[i - 2] = expires and tonumber(expires) > now and redis.call('HGET', ARGV[2] .. member, 'response') or false
end
return found
