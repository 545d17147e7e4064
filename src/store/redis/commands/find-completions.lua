--[[
  Finds the answers with a completion's id.

  KEYS[1]   what the tenant's keys start with (see append-interactions.lua)

  ARGV[1]   completion id
  ARGV[2]   how many slices of the index were asked

  Returns how many slices were asked now, lines of those on their way and of earlier versions, then of rows with that id
  the interaction's id, its user and its time, the newest first, at most 16.
  Bound: 2 calls, and 25 a slice for 32 slices.
]]
local MOST_SLICES, MOST_ANSWERS = 32, 16
local prefix = KEYS[1]
local slices = redis.call('ZREVRANGE', prefix .. 'index', ARGV[2], ARGV[2] + MOST_SLICES - 1)
local reply = { #slices, ARGV[2] == '0' and redis.call('GET', prefix .. 'completion:' .. ARGV[1]) or '' }
for _, slice in ipairs(slices) do -- MOST_SLICES
  for _, entry in ipairs(refs_of(prefix, slice, 'c:' .. ARGV[1])) do -- MOST_REFS
    local fields = #reply < 2 + 3 * MOST_ANSWERS and fields_of(prefix .. 'interactions', entry)
    if fields and fields.completion == ARGV[1] then
      reply[#reply + 1] = fields.id
      reply[#reply + 1] = fields.user
      reply[#reply + 1] = string.format('%.0f', fields.ts)
    end
  end
end
return reply
