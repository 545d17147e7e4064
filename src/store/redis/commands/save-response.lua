--[[
  Keeps a response, and makes room for it.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out
  KEYS[2]   their sizes; the sum of all under ""
  KEYS[3]   when the user was erased
  KEYS[5]   when the tenant was
  KEYS[4]   the response: hash of response, and the items that it is found by, a line each

  ARGV[1]   id            ARGV[2]   user          ARGV[3]   when it was made, milliseconds
  ARGV[4]   how long it is kept, milliseconds     ARGV[5]   most bytes of a tenant
  ARGV[6]   what a response's key starts with
  ARGV[7]   what the key of a user's responses starts with (ids, by when they were made)
  ARGV[8]   what the key of a user's items starts with (item -> id)
  ARGV[9]   items         ARGV[10]  response
  then ids that it goes on from, 64 at most: they are kept as long (renew-responses.lua does the others)

  Returns 1, or 0 when the user has been erased since. Changes keys that are not in KEYS: other responses of the tenant
  and what they are found by, in the same slot.
  Bound: 1600 calls.
]]
local MOST_DROPPED = 64 -- that ran out, and as many again to make room
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id, user, ttl = ARGV[1], ARGV[2], tonumber(ARGV[4])
-- A key outlives its time, so that what it is found by goes with it.
local KEY_MS = string.format('%.0f', ttl + 86400000)

local function drop(member)
  local name, owner = string.match(member, '^([^\n]*)\n(.*)$')
  local items = redis.call('HGET', ARGV[6] .. member, 'items')
  if items and items ~= '' then
    local names = {}
    for item in string.gmatch(items, '[^\n]+') do names[#names + 1] = item end -- MAX_ITEMS of store/responses.ts
    redis.call('HDEL', ARGV[8] .. owner, unpack(names))
  end
  redis.call('DEL', ARGV[6] .. member)
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZREM', ARGV[7] .. owner, name)
  local size = redis.call('HGET', KEYS[2], member)
  if size then
    redis.call('HDEL', KEYS[2], member)
    redis.call('HINCRBY', KEYS[2], '', -size)
  end
end

local marks = redis.call('MGET', KEYS[3], KEYS[5])
if math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ARGV[3]) then return 0 end

local member = id .. '\n' .. user
drop(member)
-- A few each time, so that Redis is never blocked for long.
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, MOST_DROPPED)
for _, old in ipairs(over) do drop(old) end -- MOST_DROPPED
for _ = 1, MOST_DROPPED do -- MOST_DROPPED
  local total = tonumber(redis.call('HGET', KEYS[2], '') or '0')
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest or total + #ARGV[10] <= tonumber(ARGV[5]) then break end
  drop(oldest)
end

local expires = string.format('%.0f', now + ttl)
redis.call('HSET', KEYS[4], 'response', ARGV[10], 'items', ARGV[9])
redis.call('PEXPIRE', KEYS[4], KEY_MS)
redis.call('ZADD', KEYS[1], expires, member)
redis.call('HSET', KEYS[2], member, #ARGV[10])
redis.call('HINCRBY', KEYS[2], '', #ARGV[10])
redis.call('ZADD', ARGV[7] .. user, ARGV[3], id)
if redis.call('PTTL', ARGV[7] .. user) < tonumber(KEY_MS) then redis.call('PEXPIRE', ARGV[7] .. user, KEY_MS) end
if ARGV[9] ~= '' then
  local found_by = {}
  for item in string.gmatch(ARGV[9], '[^\n]+') do -- MAX_ITEMS of store/responses.ts
    found_by[#found_by + 1] = item
    found_by[#found_by + 1] = id
  end
  redis.call('HSET', ARGV[8] .. user, unpack(found_by))
  redis.call('PEXPIRE', ARGV[8] .. user, KEY_MS)
end
for i = 11, #ARGV do -- 64 ids
  local before = ARGV[i] .. '\n' .. user
  local score = redis.call('ZSCORE', KEYS[1], before)
  if score and tonumber(score) < tonumber(expires) then
    redis.call('ZADD', KEYS[1], expires, before)
    redis.call('PEXPIRE', ARGV[6] .. before, KEY_MS)
  end
end
return 1
