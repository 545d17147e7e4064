--[[
  Remembers a conversation's last turn, for a while.

  KEYS[1]   conversation: hash of user, state
  KEYS[2]   conversations of the user: ids by expiry
  ARGV[1]   id        ARGV[2]   user        ARGV[3]   state        ARGV[4]   how long, milliseconds

  Returns the state that was there, or nil.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', KEYS[1], 'state')
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'state', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[2], string.format('%d', tonumber(last)))
return before
