--[[
  A process says that it uses this Redis.

  KEYS[1]   processes, by the time at which they were last heard of
  ARGV[1]   its id        ARGV[2]   how long it counts, milliseconds
  ARGV[3]   what ids begin with of processes that read users and rows, but not those that share
  ARGV[4]   what ids begin with of those that read all as this version keeps it

  Returns how many there are, how many of (some of) them have no id of the first kind, and of the second.
  Bound: 7 calls.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Takes memory, so that a full Redis refuses it: whoever asks wants to know.
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
local gone = redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
if gone > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, math.min(gone, 256) - 1) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local earlier, before = 0, 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, 255)) do -- 256
  if string.sub(id, 1, #ARGV[3]) ~= ARGV[3] then earlier = earlier + 1 end
  if string.sub(id, 1, #ARGV[4]) ~= ARGV[4] then before = before + 1 end
end
return { redis.call('ZCARD', KEYS[1]), earlier, before }
