--[[
  Puts an edge in the place of another form of it, unless it has changed meanwhile.

  KEYS[1]   edges: hash of id -> edge
  ARGV[1]   id      ARGV[2]   edge as it was read     ARGV[3]   in its new form

  Returns 1, or 0 when it has changed.
  Bound: 2 calls.
]]
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
