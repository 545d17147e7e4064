--[[
  Drops what rows of a slice of time shared (log-index.lua), once all of them have left the log; called until nothing is
  left to drop, so that Redis is never blocked for long.

  KEYS[1]   what the tenant's keys start with (see append-interactions.lua)

  Returns how many slices it dropped, at most 32.
  Changes keys that are not in KEYS, in the same slot: "shared" and "shared:<slice>".
  Bound: 2 calls, and 2 a slice for 32 slices.
]]
local prefix = KEYS[1]
local oldest = redis.call('XRANGE', prefix .. 'interactions', '-', '+', 'COUNT', 1)[1]
-- No entry of theirs is as young as the oldest that is left.
local most = oldest and '(' .. string.match(oldest[1], '^%d+') or '+inf'
local slices = redis.call('ZRANGEBYSCORE', prefix .. 'shared', '-inf', most, 'LIMIT', 0, 32)
for _, slice in ipairs(slices) do -- 32
  redis.call('UNLINK', prefix .. 'shared:' .. slice)
  redis.call('ZREM', prefix .. 'shared', slice)
end
return #slices
