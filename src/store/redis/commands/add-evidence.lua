--[[
  Adds a message to a candidate's sums: float32 vectors, little-endian.

  KEYS[1]   evidence of one artifact version: hash of candidate -> sums
  ARGV[1]   candidate     ARGV[2]   message     ARGV[3]   how long the hash is kept after the last change, milliseconds
  ARGV[4]   channel       ARGV[5]   message for it

  Bound: 4 calls.
]]
local sums = redis.call('HGET', KEYS[1], ARGV[1])
local message = ARGV[2]
if sums then
  if #sums ~= #message then return redis.error_reply('ERR evidence of another length') end
  local added = {}
  for at = 1, #message, 4 do -- a message: as long as the graph's width
    added[#added + 1] = struct.pack('<f', struct.unpack('<f', sums, at) + struct.unpack('<f', message, at))
  end
  message = table.concat(added)
end
redis.call('HSET', KEYS[1], ARGV[1], message)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
