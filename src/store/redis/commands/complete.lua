--[[
  Keeps the answer to an idempotency key, or frees the key.

  KEYS[1]   the key       KEYS[2]   all keys of the tenant      (see claim.lua)
  ARGV[1]   the key's hash        ARGV[2]   token
  ARGV[3]   how long the answer is kept, milliseconds; 0 frees the key
  ARGV[4]   response

  Returns 1, or 0 when the claim had run out.
]]
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'response', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + ARGV[3]), ARGV[1])
return 1
