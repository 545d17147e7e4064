--[[
  Gives a user's belief another id, under which nothing is known of them yet, and what they have used of their limits.
  The log (move-log.lua) and the sums of days (move-usage.lua) go before, in slices. Responses are left: they are sealed
  for the id that they were made under.

  KEYS[1]   user               KEYS[2]   with the new id
  KEYS[3]   edges              KEYS[4]   with the new id
  KEYS[5]   order of the edges KEYS[6]   with the new id
  KEYS[7]   salt               KEYS[8]   with the new id
  KEYS[9]   what the tenant's keys start with
  KEYS[10]  and further: when the user was erased, under either id, and the tenant: then nothing moves but the counters

  ARGV[i]   counters of limits that may be there (see batch.lua), without what the tenant's keys start with: each with
            the old id, then with the new one

  A counter stays where it is, since other replicas may still count there; `carried:<counter>` says how much of it the
  new one has already.

  Returns how many of these keys moved.
  Bound: 12 calls, and 4 a counter for 24 counters.
]]
local moved = 0
local prefix = KEYS[9]
local asked = {}
for i = 1, #ARGV, 2 do -- 24 pairs
  asked[#asked + 1] = prefix .. ARGV[i]
  asked[#asked + 1] = prefix .. 'carried:' .. ARGV[i]
end
local values = #asked > 0 and redis.call('MGET', unpack(asked)) or {}
for i = 1, #values, 2 do -- 24 pairs
  local more = tonumber(values[i] or '0') - tonumber(values[i + 1] or '0')
  if more > 0 then
    local lives = redis.call('PTTL', asked[i])
    if lives > 0 then
      redis.call('SET', asked[i + 1], values[i], 'PX', lives)
      local new = prefix .. ARGV[i + 1]
      if redis.call('INCRBY', new, string.format('%.0f', more)) == more then redis.call('PEXPIRE', new, lives) end
    end
  end
end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('EXISTS', unpack(KEYS, 10)) > 0 then return 0 end
for i = 1, 7, 2 do -- four kinds
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    moved = moved + 1
  end
end
return moved
