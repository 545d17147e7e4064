--[[
  Notes answers that are on their way, unless they have ended meanwhile. Rows of one tenant.

  For each row:
  KEYS[1 + 2i]    marker of the interaction (see append-interactions.lua)
  KEYS[2 + 2i]    log index of the user

  ARGV[1]         how long an answer may take, milliseconds
  then, for each row:
  ARGV[2 + 2i]    interaction id
  ARGV[3 + 2i]    summary
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for row = 0, #KEYS / 2 - 1 do
  local marker, index = KEYS[1 + row * 2], KEYS[2 + row * 2]
  if redis.call('SET', marker, 'o' .. ARGV[3 + row * 2], 'NX', 'PX', ARGV[1]) then
    redis.call('ZADD', index, now, 'o:' .. ARGV[2 + row * 2])
    -- An index that holds ended answers lives longer: only a new one gets a time.
    if redis.call('PTTL', index) < 0 then redis.call('PEXPIRE', index, ARGV[1]) end
  end
end
