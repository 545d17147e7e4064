--[[
  Gives what is kept of a user another id, under which nothing is known of them yet. Responses are left: they are sealed
  for the id that they were made under.

  KEYS[1]   user               KEYS[2]   with the new id
  KEYS[3]   edges              KEYS[4]   with the new id
  KEYS[5]   order of the edges KEYS[6]   with the new id
  KEYS[7]   salt               KEYS[8]   with the new id
  KEYS[9]   log index          KEYS[10]  with the new id (see append-interactions.lua)

  Returns how many of these keys moved.
  Bound: 22 calls.
]]
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local moved = 0
for i = 1, 7, 2 do -- four kinds
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    moved = moved + 1
  end
end
if redis.call('EXISTS', KEYS[9]) == 1 then
  local lives = math.max(redis.call('PTTL', KEYS[9]), redis.call('PTTL', KEYS[10]))
  redis.call('ZUNIONSTORE', KEYS[10], 2, KEYS[9], KEYS[10], 'AGGREGATE', 'MAX')
  redis.call('DEL', KEYS[9])
  if lives > 0 then redis.call('PEXPIRE', KEYS[10], lives) end
  moved = moved + 1
end
return moved
