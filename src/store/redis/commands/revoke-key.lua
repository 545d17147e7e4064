--[[
  Revokes a tenant key; the first time counts.

  KEYS[1]   key records     KEYS[2]   key ids       (see create-key.lua)
  ARGV[1]   id              ARGV[2]   now, milliseconds             ARGV[3]   channel

  Returns 1, or 0 when there is no such key.
  Bound: 5 calls.
]]
local hash = redis.call('HGET', KEYS[2], ARGV[1])
local record = hash and redis.call('HGET', KEYS[1], hash)
if not record then return 0 end
-- Deletes nothing: a full Redis refuses a script whose first write takes memory, and a revocation must not wait.
redis.call('HDEL', KEYS[1], '')
redis.call('HSETNX', KEYS[1], hash .. ':revoked', ARGV[2])
redis.call('PUBLISH', ARGV[3], cjson.encode({ kind = 'keys', tenant = cjson.decode(record).tenant }))
return 1
