--[[
  Claims an idempotency key, or tells what became of it.

  KEYS[1]   the key: hash of body, token, user, response (once it is there)
  KEYS[2]   all keys of the tenant, by the time at which their answers run out (a claim: as if it were answered now)
  KEYS[3]   log index of the user (see append-interactions.lua): "p:<key's hash>"
  KEYS[4]   there when the claim was given up (see complete.lua)
  KEYS[5]   sizes of the tenant's kept answers by their keys' hashes; the sum of all under ""
  KEYS[6]   when the user was erased, milliseconds                KEYS[7]   when the tenant was

  ARGV[1]   the key's hash        ARGV[2]   hash of the body      ARGV[3]   token
  ARGV[4]   how long the claim holds, milliseconds                ARGV[5]   most keys of a tenant
  ARGV[6]   prefix of such a key                                  ARGV[7]   when the request began, milliseconds

  Returns {"claimed"} (also when this token had claimed it before), {"in_flight"}, {"mismatch"}, {"void"}, or
  {"done", response}.
  Deletes keys that are not in KEYS: the keys that were dropped, in the same slot.
  Bound: 12 calls, and 5 a key for 128 keys.
]]
local MOST_DROPPED = 64 -- that ran out, and as many again that are too many
local DAY = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[4]) == 1 then return { 'void' } end
local known = redis.call('HMGET', KEYS[1], 'body', 'response', 'token')
if known[1] then
  if known[1] ~= ARGV[2] then return { 'mismatch' } end
  if known[2] then return { 'done', known[2] } end
  if known[3] == ARGV[3] then return { 'claimed' } end
  return { 'in_flight' }
end
-- Nothing will be kept of it.
local marks = redis.call('MGET', KEYS[6], KEYS[7])
if math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ARGV[7]) then return { 'claimed' } end
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'token', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local function drop(hash)
  redis.call('DEL', ARGV[6] .. hash)
  redis.call('ZREM', KEYS[2], hash)
  local size = redis.call('HGET', KEYS[5], hash)
  if size then
    redis.call('HDEL', KEYS[5], hash)
    redis.call('HINCRBY', KEYS[5], '', -size)
  end
end
-- A few each time, so that Redis is never blocked for long.
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, MOST_DROPPED)
for _, hash in ipairs(old) do -- MOST_DROPPED
  -- A key that was claimed again stands for its new claim.
  if hash ~= ARGV[1] then drop(hash) end
end
-- By its own expiry it would be the first of all to be dropped, while it is in work.
redis.call('ZADD', KEYS[2], string.format('%.0f', now + DAY), ARGV[1])
local excess = math.min(MOST_DROPPED, redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[5]))
if excess > 0 then
  for _, hash in ipairs(redis.call('ZRANGE', KEYS[2], 0, excess - 1)) do drop(hash) end -- MOST_DROPPED
end
redis.call('ZADD', KEYS[3], string.format('%.0f', now), 'p:' .. ARGV[1])
if redis.call('PTTL', KEYS[3]) < 0 then redis.call('PEXPIRE', KEYS[3], DAY) end
return { 'claimed' }
