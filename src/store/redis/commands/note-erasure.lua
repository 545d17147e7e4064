--[[
  Remembers that a user, or a tenant, was erased; the later of two times counts.

  KEYS[1]   when it was, milliseconds
  ARGV[1]   when it was said to be        ARGV[2]   how long that is remembered, milliseconds

  Returns 1, or 0 when that, or a later one, was known.
  Bound: 2 calls.
]]
if tonumber(redis.call('GET', KEYS[1]) or '-1') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
