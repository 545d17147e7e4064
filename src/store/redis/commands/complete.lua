--[[
  Keeps the answer to an idempotency key, or frees the key.

  KEYS[1]   the key       KEYS[2]   all keys of the tenant      (see claim.lua)
  KEYS[3]   set where this token has no claim: one that is still on its way (the server was frozen, say, and the
            connection it came by is gone) must not hold when it arrives
  ARGV[1]   the key's hash        ARGV[2]   token
  ARGV[3]   how long the answer is kept, milliseconds; 0 frees the key
  ARGV[4]   response

  Returns 1, or 0 when there was no such claim, or it had run out.
  Bound: 5 calls.
]]
local HOUR = 3600000
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then
  redis.call('SET', KEYS[3], '', 'PX', HOUR)
  return 0
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'response', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
return 1
