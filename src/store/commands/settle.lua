--[[
  Replaces what was reserved by what it came to, in the windows in which it was reserved (those that are over no longer matter).

  KEYS[1]   reservations        KEYS[2]   this reservation      (see reserve.lua)
  ARGV[1]   id
  ARGV[2]   requests            ARGV[3]   tokens                ARGV[4]   nanoUsd

  Returns 1, or 0 when it was settled before or is unknown.
  Uses keys that are not in KEYS: the counters that the reservation names, in the same slot.
]]
local state = redis.call('HGET', KEYS[2], 'state')
if state ~= 'open' and state ~= 'expired' then return 0 end
local actual = { requests = ARGV[2], tokens = ARGV[3], nanoUsd = ARGV[4], flight = 0 }
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  local what, amount = string.match(fields[i + 1], '^(%a+):(%d+)$')
  if what and redis.call('EXISTS', fields[i]) == 1 then
    -- One that ran out has been given back already.
    local change = actual[what] - (state == 'open' and amount or 0)
    redis.call('INCRBY', fields[i], string.format('%.0f', change))
  end
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'state', 'settled')
return 1
