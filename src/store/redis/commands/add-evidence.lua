--[[
  Adds to the sums of a name: float32 vectors, little-endian.

  KEYS[1]   hash of name -> sums
  ARGV[1]   name          ARGV[2]   added       ARGV[3]   how long the hash is kept after the last change, milliseconds
  ARGV[4]   channel; '': nobody is told          ARGV[5]   message for it
  ARGV[6]   half-life, days: the last number is the day up to which the others have faded; absent: nothing fades

  Bound: 4 calls.
]]
local sums = redis.call('HGET', KEYS[1], ARGV[1])
local message = ARGV[2]
if sums then
  if #sums ~= #message then return redis.error_reply('ERR evidence of another length') end
  local added = {}
  local last, kept, fresh = #message + 1, 1, 1
  if ARGV[6] then
    last = #message - 3
    local days = struct.unpack('<f', message, last) - struct.unpack('<f', sums, last)
    if days > 0 then kept = 0.5 ^ (days / ARGV[6]) else fresh = 0.5 ^ (-days / ARGV[6]) end
  end
  for at = 1, last - 1, 4 do -- a message: as long as the graph's width
    local before, now = struct.unpack('<f', sums, at), struct.unpack('<f', message, at)
    added[#added + 1] = struct.pack('<f', kept * before + fresh * now)
  end
  if ARGV[6] then
    added[#added + 1] = struct.pack('<f', math.max(struct.unpack('<f', sums, last), struct.unpack('<f', message, last)))
  end
  message = table.concat(added)
end
redis.call('HSET', KEYS[1], ARGV[1], message)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
