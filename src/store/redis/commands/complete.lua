--[[
  Keeps the answer to an idempotency key, or frees the key.

  KEYS[1]   the key       KEYS[2]   all keys of the tenant      (see claim.lua)
  KEYS[3]   set where this token has no claim: one that is still on its way (the server was frozen, say, and the
            connection it came by is gone) must not hold when it arrives
  KEYS[4]   sizes of the tenant's kept answers (see claim.lua)
  ARGV[1]   the key's hash        ARGV[2]   token
  ARGV[3]   how long the answer is kept, milliseconds; 0 frees the key
  ARGV[4]   response              ARGV[5]   most bytes of a tenant: beyond, the oldest answers go
  ARGV[6]   prefix of such a key

  Returns 1, or 0 when there was no such claim, it had run out, or the answer has no room.
  Bound: 12 calls, and 6 an answer for 256 answers.
]]
local HOUR = 3600000
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then
  redis.call('SET', KEYS[3], '', 'PX', HOUR)
  return 0
end
local function forget_size(hash)
  local size = redis.call('HGET', KEYS[4], hash)
  if not size then return false end
  redis.call('HDEL', KEYS[4], hash)
  redis.call('HINCRBY', KEYS[4], '', -size)
  return true
end
local function free()
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  forget_size(ARGV[1])
end
if ARGV[3] == '0' then
  free()
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- First of all writes: a full Redis refuses it, and with it the script.
redis.call('HSET', KEYS[1], 'response', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
forget_size(ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], #ARGV[4])
local total = redis.call('HINCRBY', KEYS[4], '', #ARGV[4])
redis.call('PEXPIRE', KEYS[4], string.format('%.0f', 2 * ARGV[3]))
if total <= tonumber(ARGV[5]) then return 1 end
-- The oldest first, but for claims: they have no size yet.
for _, hash in ipairs(redis.call('ZRANGE', KEYS[2], 0, 255)) do -- 256
  if hash ~= ARGV[1] and forget_size(hash) then
    redis.call('DEL', ARGV[6] .. hash)
    redis.call('ZREM', KEYS[2], hash)
    if tonumber(redis.call('HGET', KEYS[4], '')) <= tonumber(ARGV[5]) then return 1 end
  end
end
free()
return 0
