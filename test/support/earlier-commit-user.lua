--[[
  Writes a user's belief if nobody else did meanwhile, and adds or replaces one edge.

  KEYS[1]   user: hash of revision, policy, rewards, sums, state, preferences, updated_at, since, heard_at
  KEYS[2]   edges: hash of id -> edge
  KEYS[3]   order of the edges: ids by sequence number
  KEYS[4]   when the user was erased, milliseconds            KEYS[5]   when the tenant was

  ARGV[1]   new revision; the stored one must be one less (none = 0)
  ARGV[2]   policy        ARGV[3] rewards       ARGV[4] sums
  ARGV[5]   state         ARGV[6] preferences   ARGV[7] updated_at
  ARGV[8]   channel       ARGV[9] message for it
  ARGV[10]  most edges
  ARGV[11]  since         ARGV[12] heard_at
  ARGV[13]  when the request began that this is learned from, milliseconds
  ARGV[14]  edge id       ARGV[15] its sequence number    ARGV[16] edge        (absent: no edge)

  Returns 1, 0 when the stored revision is another, or -1 when the user has been erased since.
  Bound: 136 calls.
]]
local MOST_DROPPED = 64 -- at a time: one, unless there may be fewer than before
local marks = redis.call('MGET', KEYS[4], KEYS[5])
if math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ARGV[13]) then return -1 end
local stored = tonumber(redis.call('HGET', KEYS[1], 'revision') or '0')
if stored ~= tonumber(ARGV[1]) - 1 then return 0 end

redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'policy', ARGV[2], 'rewards', ARGV[3], 'sums', ARGV[4],
  'state', ARGV[5], 'preferences', ARGV[6], 'updated_at', ARGV[7], 'since', ARGV[11], 'heard_at', ARGV[12])

if ARGV[14] then
  redis.call('HSET', KEYS[2], ARGV[14], ARGV[16])
  redis.call('ZADD', KEYS[3], ARGV[15], ARGV[14])
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
