--[[
  Reserves under several limits, all or none. Windows are by the server's clock.

  KEYS[1]        reservations: ids by the time at which they run out
  KEYS[2]        this reservation: hash of <counter key> -> "<what>:<amount>", and state: open, settled, expired
  KEYS[2 + i]    counter of limit i, without its window

  ARGV[1]        id       ARGV[2]   time to live, milliseconds      ARGV[3]   how long a reservation is remembered after that
  ARGV[4]        what a reservation's key starts with
  then, for each limit:
  ARGV[1 + 4i]   window: flight, minute, day, month
  ARGV[2 + 4i]   what: requests, tokens, nanoUsd
  ARGV[3 + 4i]   most
  ARGV[4 + 4i]   amount

  Returns {0, or the number of the limit that refuses, then for each limit: what remains, milliseconds until its window ends}.
  Uses keys that are not in KEYS, in the same slot: the counters with their window, and reservations that ran out.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local MINUTE, DAY = 60000, 86400000

-- Days since 1970 of the first of the month that holds a day, and of the next: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
local function first_of_month(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local mp = math.floor((5 * (doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))) + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local next_year, next_month = year, month + 1
  if next_month == 13 then next_year, next_month = year + 1, 1 end
  return first_of_month(year, month), first_of_month(next_year, next_month)
end
local function window_at(window)
  if window == 'flight' then return 0, now end
  if window == 'month' then
    local from, to = month_of(math.floor(now / DAY))
    return from * DAY, to * DAY
  end
  local length = window == 'minute' and MINUTE or DAY
  local start = math.floor(now / length) * length
  return start, start + length
end
local function whole(number) return string.format('%.0f', number) end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 64)) do
  local reservation = ARGV[4] .. id
  local fields = redis.call('HGETALL', reservation)
  for i = 1, #fields, 2 do
    local amount = string.match(fields[i + 1], ':(%d+)$')
    if amount and redis.call('EXISTS', fields[i]) == 1 then redis.call('DECRBY', fields[i], amount) end
  end
  if #fields > 0 then redis.call('HSET', reservation, 'state', 'expired') end
  redis.call('ZREM', KEYS[1], id)
end

local known = redis.call('EXISTS', KEYS[2]) == 1
local limits = {}
local refused = 0
for i = 1, #KEYS - 2 do
  local window, what = ARGV[1 + 4 * i], ARGV[2 + 4 * i]
  local max, amount = tonumber(ARGV[3 + 4 * i]), tonumber(ARGV[4 + 4 * i])
  local start, ends = window_at(window)
  local key = KEYS[2 + i] .. ':' .. whole(start)
  local used = tonumber(redis.call('GET', key) or '0')
  if window == 'minute' then
    -- The minute before counts by the part of it that is less than a minute ago.
    local before = tonumber(redis.call('GET', KEYS[2 + i] .. ':' .. whole(start - MINUTE)) or '0')
    used = used + math.ceil(before * (ends - now) / MINUTE)
  end
  if refused == 0 and not known and used + amount > max then refused = i end
  limits[i] = { key = key, what = window == 'flight' and 'flight' or what, window = window, max = max,
    amount = amount, used = used, ends = ends }
end

local takes = refused == 0 and not known
local reply = { refused }
for _, limit in ipairs(limits) do
  if takes then
    redis.call('INCRBY', limit.key, whole(limit.amount))
    if limit.window == 'flight' then
      local keep = math.max(redis.call('PTTL', limit.key), tonumber(ARGV[2]) + MINUTE)
      redis.call('PEXPIRE', limit.key, whole(keep))
    else
      redis.call('PEXPIREAT', limit.key, whole(limit.ends + MINUTE))
    end
    redis.call('HSET', KEYS[2], limit.key, limit.what .. ':' .. whole(limit.amount))
    limit.used = limit.used + limit.amount
  end
  reply[#reply + 1] = whole(math.max(0, limit.max - limit.used))
  reply[#reply + 1] = whole(limit.ends - now)
end
if takes then
  redis.call('HSET', KEYS[2], 'state', 'open')
  redis.call('PEXPIRE', KEYS[2], whole(ARGV[2] + ARGV[3]))
  redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), ARGV[1])
end
return reply
