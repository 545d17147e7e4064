--[[
  Keeps responses of a user for longer, since another one goes on from them.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out

  ARGV[1]   user          ARGV[2]   what a response's key starts with (see save-response.lua)
  ARGV[3]   how long they are kept, milliseconds
  then the ids

  Changes keys that are not in KEYS: the responses, in the same slot.
  Bound: 1 call, and 3 an id for 64 ids.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = string.format('%.0f', now + tonumber(ARGV[3]))
local KEY_MS = string.format('%.0f', tonumber(ARGV[3]) + 86400000)
for i = 4, #ARGV do -- the ids
  local member = ARGV[i] .. '\n' .. ARGV[1]
  local score = redis.call('ZSCORE', KEYS[1], member)
  if score and tonumber(score) < tonumber(expires) then
    redis.call('ZADD', KEYS[1], expires, member)
    redis.call('PEXPIRE', ARGV[2] .. member, KEY_MS)
  end
end
