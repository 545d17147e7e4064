--[[
  Notes answers that are on their way, unless they have ended meanwhile. Rows of one tenant.

  KEYS[1]         what the tenant's keys start with

  ARGV[1]         how long an answer may take, milliseconds
  then, for each row:
  ARGV[2 + 5i]    interaction id
  ARGV[3 + 5i]    user
  ARGV[4 + 5i]    summary
  ARGV[5 + 5i]    key of the time at which the user was erased, without KEYS[1]
  ARGV[6 + 5i]    when the request began, milliseconds: users erased since then are left out

  Uses keys that are not in KEYS, in the same slot: markers and log indices (see append-interactions.lua).
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 2, #ARGV, 5 do
  local id, index = ARGV[at], KEYS[1] .. 'user-log:' .. ARGV[at + 1]
  local marks = redis.call('MGET', KEYS[1] .. ARGV[at + 3], KEYS[1] .. 'erased:')
  local erased = math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ARGV[at + 4])
  if not erased and redis.call('SET', KEYS[1] .. 'interaction:' .. id, 'o' .. ARGV[at + 2], 'NX', 'PX', ARGV[1]) then
    redis.call('ZADD', index, now, 'o:' .. id)
    -- An index that holds ended answers lives longer: only a new one gets a time.
    if redis.call('PTTL', index) < 0 then redis.call('PEXPIRE', index, ARGV[1]) end
  end
end
