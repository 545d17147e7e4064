--[[
  Drops what is kept of a slice of time (log-index.lua), its index and what its rows shared, once all of its rows have
  left the log: a part at a time, so that Redis is never blocked for long.

  KEYS[1]   what the tenant's keys start with (see append-interactions.lua)

  ARGV[1]   slice that was begun, or "" for the oldest
  ARGV[2]   how many hashes of its index were dropped

  Returns the slice and how many of its hashes are dropped by now, then whether all is ("1" or "0"); nil where rows may
  still need it.
  Changes keys that are not in KEYS, in the same slot: "shared…", "index…".
  Bound: 6 calls, and 1 a hash for 256 hashes.
]]
local MOST_DROPPED = 256
local prefix = KEYS[1]
local oldest = redis.call('XRANGE', prefix .. 'interactions', '-', '+', 'COUNT', 1)[1]
-- No entry of theirs is as young as the oldest that is left.
local most = oldest and '(' .. string.match(oldest[1], '^%d+') or '+inf'
local slice = redis.call('ZRANGEBYSCORE', prefix .. 'shared', '-inf', most, 'LIMIT', 0, 1)[1]
-- Rows that came meanwhile move a slice to the end.
if not slice or ARGV[1] ~= '' and ARGV[1] ~= slice then return nil end

local dropped, left = tonumber(ARGV[2]), MOST_DROPPED
local first = 0 -- hashes with fewer digits
for digits = 0, math.max(digits_of(prefix, slice), 0) do -- MOST_DIGITS
  local many = 16 ^ digits
  while dropped < first + many and left > 0 do -- MOST_DROPPED
    local hash = digits > 0 and string.format('%0' .. digits .. 'x', dropped - first) or ''
    redis.call('UNLINK', (place_of(prefix, slice, hash, digits)))
    dropped, left = dropped + 1, left - 1
  end
  first = first + many
end
if dropped < first then return { slice, string.format('%.0f', dropped), '0' } end
redis.call('UNLINK', prefix .. 'shared:' .. slice)
redis.call('ZREM', prefix .. 'index', slice)
redis.call('ZREM', prefix .. 'shared', slice)
return { slice, string.format('%.0f', dropped), '1' }
