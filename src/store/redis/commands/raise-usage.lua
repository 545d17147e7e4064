--[[
  Raises what was used of a model in a day (see append-interactions.lua); what is more stays.

  KEYS[1]   usage of the day
  ARGV[1]   how long it is kept, milliseconds
  ARGV[2]   whose: "tenant", "key:<id>", or a user
  ARGV[3]   model, requests, tokens of prompts and of answers, nanoUsd: separated by tabs

  Bound: 3 calls.
]]
local NUMBERS = '^([^\t]+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)$'
local model, r, p, c, n = string.match(ARGV[3], NUMBERS)
local lines = {}
for line in string.gmatch(redis.call('HGET', KEYS[1], ARGV[2]) or '', '[^\n]+') do -- models
  local name, r0, p0, c0, n0 = string.match(line, NUMBERS)
  if name ~= model then
    lines[#lines + 1] = line
  else
    r, p, c, n = math.max(r, r0), math.max(p, p0), math.max(c, c0), math.max(n, n0)
  end
end
lines[#lines + 1] = string.format('%s\t%.0f\t%.0f\t%.0f\t%.0f', model, r, p, c, n)
redis.call('HSET', KEYS[1], ARGV[2], table.concat(lines, '\n'))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
