--[[
  Adds what a user has used in some days to another id's sums.

  KEYS[1]   to KEYS[3]: when the user was erased, under either id, and the tenant: then nothing moves
  KEYS[i]   a day's sums by user (see append-interactions.lua)

  ARGV[1]   user
  ARGV[2]   the new id

  Returns in how many of these days there was something.
  Bound: 4 calls, and 4 a day for 32 days.
]]
if redis.call('EXISTS', unpack(KEYS, 1, 3)) > 0 then return 0 end
local days = 0
for i = 4, #KEYS do -- 32 days
  local key = KEYS[i]
  local old = redis.call('HGET', key, ARGV[1])
  if old then
    local models, lines = {}, {}
    for _, sums in ipairs({ redis.call('HGET', key, ARGV[2]) or '', old }) do -- two ids
      for model, r, p, c, n in string.gmatch(sums, '([^\t\n]+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)') do -- models
        local sum = models[model] or { 0, 0, 0, 0 }
        models[model] = { sum[1] + r, sum[2] + p, sum[3] + c, sum[4] + n }
      end
    end
    for model, sum in pairs(models) do -- models
      lines[#lines + 1] = string.format('%s\t%.0f\t%.0f\t%.0f\t%.0f', model, sum[1], sum[2], sum[3], sum[4])
    end
    redis.call('HSET', key, ARGV[2], table.concat(lines, '\n'))
    redis.call('HDEL', key, ARGV[1])
    days = days + 1
  end
end
return days
