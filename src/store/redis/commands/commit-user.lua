--[[
  Writes a user's belief if nobody else did meanwhile, and adds or replaces one edge.

  KEYS[1]   user: hash of revision, policy, rewards, sums, state, preferences, updated_at, since, heard_at
  KEYS[2]   edges: hash of id -> edge
  KEYS[3]   order of the edges: ids by sequence number

  ARGV[1]   new revision; the stored one must be one less (none = 0)
  ARGV[2]   policy        ARGV[3] rewards       ARGV[4] sums
  ARGV[5]   state         ARGV[6] preferences   ARGV[7] updated_at
  ARGV[8]   channel       ARGV[9] message for it
  ARGV[10]  most edges
  ARGV[11]  since         ARGV[12] heard_at
  ARGV[13]  edge id       ARGV[14] its sequence number    ARGV[15] edge        (absent: no edge)

  Returns 1, or 0 when the stored revision is another.
  Bound: 135 calls.
]]
local MOST_DROPPED = 64 -- at a time: one, unless there may be fewer than before
local stored = tonumber(redis.call('HGET', KEYS[1], 'revision') or '0')
if stored ~= tonumber(ARGV[1]) - 1 then return 0 end

redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'policy', ARGV[2], 'rewards', ARGV[3], 'sums', ARGV[4],
  'state', ARGV[5], 'preferences', ARGV[6], 'updated_at', ARGV[7], 'since', ARGV[11], 'heard_at', ARGV[12])

if ARGV[13] then
  redis.call('HSET', KEYS[2], ARGV[13], ARGV[15])
  redis.call('ZADD', KEYS[3], ARGV[14], ARGV[13])
  local excess = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[10])
  if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, math.min(excess, MOST_DROPPED) - 1)) do -- MOST_DROPPED
      redis.call('HDEL', KEYS[2], id)
      redis.call('ZREM', KEYS[3], id)
    end
  end
end

redis.call('PUBLISH', ARGV[8], ARGV[9])
return 1
