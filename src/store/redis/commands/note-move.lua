--[[
  Remembers that a user has got another id: rows of the log and of archives keep the former one. Each is remembered for
  its own time; those that are over go as others come.

  KEYS[1]   present ids by former ones
  KEYS[2]   ids that the user has had, under the id that goes   KEYS[3]   under the new one
  KEYS[4]   former ids by when they are forgotten
  KEYS[5]   and further: where one of them is there (an erasure, or a user under the new id), nobody moves

  ARGV[1]   how long that is remembered, milliseconds
  ARGV[2]   the new id
  ARGV[3]   and further: the id that goes, then those that KEYS[2] has

  Returns whether it is remembered.
  Bound: 11 calls, and 3 an id for 16 ids.
]]
local MOST_DROPPED = 64 -- at a time
if redis.call('EXISTS', unpack(KEYS, 5)) > 0 then return 0 end
-- DEL first: a full Redis refuses a script whose first write takes memory, and lets one go on that began with this.
redis.call('DEL', KEYS[2])
-- Who gets a former id back has it from now on.
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%.0f', now), 'LIMIT', 0, MOST_DROPPED)
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[4], unpack(over))
end
for i = 3, #ARGV do -- 16 ids
  if ARGV[i] ~= ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[2])
    redis.call('ZADD', KEYS[4], string.format('%.0f', now + ARGV[1]), ARGV[i])
    redis.call('SADD', KEYS[3], ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[1])
return 1
