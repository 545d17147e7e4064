--[[
  Notes answers that are on their way, unless they have ended meanwhile. Rows of one tenant.

  KEYS[1]         what the tenant's keys start with

  ARGV[1]         how long an answer may take, milliseconds
  then, for each row:
  ARGV[2 + 3i]    interaction id
  ARGV[3 + 3i]    user
  ARGV[4 + 3i]    summary

  Uses keys that are not in KEYS, in the same slot: markers and log indices (see append-interactions.lua).
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 2, #ARGV, 3 do
  local id, index = ARGV[at], KEYS[1] .. 'user-log:' .. ARGV[at + 1]
  if redis.call('SET', KEYS[1] .. 'interaction:' .. id, 'o' .. ARGV[at + 2], 'NX', 'PX', ARGV[1]) then
    redis.call('ZADD', index, now, 'o:' .. id)
    -- An index that holds ended answers lives longer: only a new one gets a time.
    if redis.call('PTTL', index) < 0 then redis.call('PEXPIRE', index, ARGV[1]) end
  end
end
