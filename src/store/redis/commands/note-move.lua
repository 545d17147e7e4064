--[[
  Remembers that a user has got another id: rows of the log and of archives keep the former one.

  KEYS[1]   present ids by former ones
  KEYS[2]   ids that the user has had, under the id that goes   KEYS[3]   under the new one
  KEYS[4]   and further: where one of them is there (an erasure, or a user under the new id), nobody moves

  ARGV[1]   how long that is remembered, milliseconds
  ARGV[2]   the new id
  ARGV[3]   and further: the id that goes, then those that KEYS[2] has

  Returns whether it is remembered.
  Bound: 5 calls, and 2 an id for 16 ids.
]]
if redis.call('EXISTS', unpack(KEYS, 4)) > 0 then return 0 end
-- DEL first: a full Redis refuses a script whose first write takes memory, and lets one go on that began with this.
redis.call('DEL', KEYS[2])
-- Who gets a former id back has it from now on.
redis.call('HDEL', KEYS[1], ARGV[2])
for i = 3, #ARGV do -- 16 ids
  if ARGV[i] ~= ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[2])
    redis.call('SADD', KEYS[3], ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[1])
return 1
