--[[
  Appends rewards to the log, each once. Rows of one tenant.

  KEYS[1]         stream of rewards
  KEYS[2]         when the tenant was erased, milliseconds
  then, for each row:
  KEYS[3 + 3i]    set of the interaction's rewards that are known
  KEYS[4 + 3i]    log index of the user (see append-interactions.lua)
  KEYS[5 + 3i]    when the user was erased, milliseconds

  ARGV[1]         retention, milliseconds
  then, for each row:
  ARGV[2 + 5i]    what makes the reward unique within its interaction: kind, time, user
  ARGV[3 + 5i]    when the request began that it is about, milliseconds; of earlier versions the reward's own time
  ARGV[4 + 5i]    user
  ARGV[5 + 5i]    interaction id
  ARGV[6 + 5i]    document

  Returns the number of rows that were new.
  Bound: 2 calls, and 8 a row for 64 rows.
]]
local MOST_DROPPED = 256 -- of an index at a time
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local retention = tonumber(ARGV[1])
local oldest = string.format('%d', math.max(0, now - retention))
local added = 0

-- A stream id as a number: milliseconds, and 4096ths of one for entries of the same millisecond (a double has no
-- finer).
local function order_of(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms) + math.min(tonumber(seq), 4095) / 4096
end

local tenant_erased = tonumber(redis.call('GET', KEYS[2]) or '-1')
for row = 0, (#ARGV - 1) / 5 - 1 do -- the batch
  local known, index, erased = KEYS[3 + row * 3], KEYS[4 + row * 3], KEYS[5 + row * 3]
  local unique, ts, user = ARGV[2 + row * 5], tonumber(ARGV[3 + row * 5]), ARGV[4 + row * 5]
  local interaction, json = ARGV[5 + row * 5], ARGV[6 + row * 5]

  local erased_at = math.max(tonumber(redis.call('GET', erased) or '-1'), tenant_erased)
  if erased_at < ts and redis.call('SADD', known, unique) == 1 then
    redis.call('PEXPIRE', known, retention)
    local entry = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*',
      'interaction', interaction, 'user', user, 'json', json)
    redis.call('ZADD', index, order_of(entry), 'r:' .. entry)
    local old = redis.call('ZCOUNT', index, '-inf', '(' .. oldest)
    if old > 0 then redis.call('ZREMRANGEBYRANK', index, 0, math.min(old, MOST_DROPPED) - 1) end
    redis.call('PEXPIRE', index, retention)
    added = added + 1
  end
end
return added
