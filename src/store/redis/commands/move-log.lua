--[[
  Moves some entries of a user's log index to another id's; called until fewer than asked for are left. Where that has
  none yet, the index as a whole is given the other name.

  KEYS[1]   log index (see append-interactions.lua)   KEYS[2]   with the new id
  KEYS[3]   user with the new id: where something is known of them, nothing moves
  KEYS[4]   and further: when the user was erased, under either id, and the tenant: then nothing moves

  ARGV[1]   most entries

  Returns how many entries moved, counting an index that moved as a whole as one.
  Bound: 7 calls.
]]
if redis.call('EXISTS', unpack(KEYS, 3)) > 0 then return 0 end
local lives = redis.call('PTTL', KEYS[1])
if lives == -2 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('RENAME', KEYS[1], KEYS[2])
  return 1
end
local entries = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES')
local added = { 'GT' }
for i = 1, #entries, 2 do -- ARGV[1]
  added[#added + 1] = entries[i + 1]
  added[#added + 1] = entries[i]
end
redis.call('ZADD', KEYS[2], unpack(added))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #entries / 2 - 1)
if lives > redis.call('PTTL', KEYS[2]) then redis.call('PEXPIRE', KEYS[2], lives) end
return #entries / 2
