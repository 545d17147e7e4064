--[[
  Drops responses of a user: those named, else some of all; called until nothing is left, so that Redis is never blocked
  for long.

  KEYS[1]   responses of the tenant, "<id>\n<user>", by the time at which they run out
  KEYS[2]   their sizes; the sum of all under ""
  KEYS[3]   ids of the user's, by when they were made
  KEYS[4]   items of the user's (item -> id)

  ARGV[1]   user          ARGV[2]   what a response's key starts with (see save-response.lua)
  ARGV[3]   most responses, where none are named;   ARGV[4]   then those that are newer stay, milliseconds; "": none
  then the ids

  Returns {responses handled, responses that went}. Deletes keys that are not in KEYS: the responses, in the same slot.
  Bound: 4 calls, and 9 a response for 64 responses.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = {}
for i = 5, #ARGV do ids[#ids + 1] = ARGV[i] end -- the ids
if #ids == 0 and ARGV[4] == '' then
  ids = redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[3]) - 1)
elseif #ids == 0 then
  ids = redis.call('ZRANGE', KEYS[3], '-inf', ARGV[4], 'BYSCORE', 'LIMIT', 0, ARGV[3])
end
local went = 0
for _, id in ipairs(ids) do -- the ids, or ARGV[3]
  local member = id .. '\n' .. ARGV[1]
  local items = redis.call('HGET', ARGV[2] .. member, 'items')
  if items and items ~= '' then
    local names = {}
    for item in string.gmatch(items, '[^\n]+') do names[#names + 1] = item end -- MAX_ITEMS of store/responses.ts
    redis.call('HDEL', KEYS[4], unpack(names))
  end
  local expires = redis.call('ZSCORE', KEYS[1], member)
  local size = redis.call('HGET', KEYS[2], member)
  if size then
    redis.call('HDEL', KEYS[2], member)
    redis.call('HINCRBY', KEYS[2], '', -size)
  end
  local gone = redis.call('DEL', ARGV[2] .. member)
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZREM', KEYS[3], id)
  if expires and tonumber(expires) > now then went = went + gone end
end
if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('UNLINK', KEYS[4]) end
return { #ids, went }
