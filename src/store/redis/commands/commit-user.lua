--[[
  Writes a user if nobody else did meanwhile, with their belief and edges where these changed.

  KEYS[1]   user: hash of revision, rewards, preferences, updated_at, belief, and history and older unless empty;
            earlier versions write policy, sums, state, since and heard_at instead of the last three
  KEYS[2]   edges as earlier versions keep them: hash of id -> edge
  KEYS[3]   their order: ids by sequence number
  KEYS[4]   when the user was erased, milliseconds            KEYS[5]   when the tenant was

  ARGV[1]   new revision; the stored one must be one less (none = 0)
  ARGV[2]   rewards       ARGV[3] preferences   ARGV[4] updated_at
  ARGV[5]   channel       ARGV[6] message for it
  ARGV[7]   when the request began that this is learned from, milliseconds
  ARGV[8]   belief        ARGV[9] history       ARGV[10] older      (absent: they stay)

  Returns 1, 0 when the stored revision is another, or -1 when the user has been erased since.
  Bound: 9 calls.
]]
local marks = redis.call('MGET', KEYS[4], KEYS[5])
if math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ARGV[7]) then return -1 end
local stored = tonumber(redis.call('HGET', KEYS[1], 'revision') or '0')
if stored ~= tonumber(ARGV[1]) - 1 then return 0 end

redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'rewards', ARGV[2], 'preferences', ARGV[3], 'updated_at', ARGV[4])

if ARGV[8] then
  redis.call('HSET', KEYS[1], 'belief', ARGV[8])
  redis.call('HDEL', KEYS[1], 'policy', 'sums', 'state', 'since', 'heard_at', 'history', 'older')
  if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'history', ARGV[9]) end
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'older', ARGV[10]) end
  redis.call('DEL', KEYS[2], KEYS[3])
end

redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
