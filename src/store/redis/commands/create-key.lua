--[[
  Keeps a tenant key.

  KEYS[1]   key records: hash of <key hash> -> JSON, <key hash>:revoked -> milliseconds
  KEYS[2]   key ids: hash of id -> <key hash>
  ARGV[1]   id      ARGV[2]   key hash      ARGV[3]   JSON      ARGV[4]   when it was revoked, or ""
  ARGV[5]   channel ARGV[6]   message for it

  Returns 1, or 0 when there is such an id or key already.
  Bound: 6 calls.
]]
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 or redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[2] .. ':revoked', ARGV[4]) end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
