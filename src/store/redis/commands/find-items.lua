--[[
  Ids of the responses that hold these items.

  KEYS[1]   items of the user's responses (item -> id)
  ARGV      items

  Returns one for each item: the id, or false.
  Bound: 1 call.
]]
return redis.call('HMGET', KEYS[1], unpack(ARGV))
