--[[
  Runs the operations of one tenant's requests, in order: reservations under limits, their settlements, turns of
  conversations. An operation that fails is an error in its place; the others stand. Windows are by the server's clock.

  KEYS[1]   what the tenant's keys start with

  ARGV[1]   operations, a list in JSON: each is a list of its name and its arguments
    reserve   id, time to live, how long it is remembered after that (milliseconds), requests, tokens, nanoUsd,
              then for each limit: "<scope>:<requests|tokens|nanoUsd>:<flight|minute|day|month>", most
              All limits or none. Asked again, the same reservation is granted, and counted once.
              -> {0, or the number of the limit that refuses, then for each limit: what is used, milliseconds until
                 its window ends, 1 where there was no counter}
    settle    id, requests, tokens, nanoUsd
              Replaces what was reserved by the actual amounts, in the windows in which it was reserved (those that are
              over no longer matter).
              -> 1, or 0 when it was settled before, 2 when it is unknown
    look      "", then each limit's name -> for each limit as in `reserve`, without the first number
    charge    id, how long it is remembered, when it was granted (milliseconds), requests, tokens, nanoUsd, then each
              limit's name
              Settles it where it is reserved; else counts it once in the windows of that time that are not over.
    restore   limit's name, amount
              A counter was lost: brings it back. Of several amounts in one window the largest counts.
    converse  id, user, state, how long it is remembered (milliseconds), key of the time at which the user was erased
              (without KEYS[1]), when the request began: of users erased since then nothing is saved
              -> "<user>\n<state>" that was there, or nil

  Uses keys that are not in KEYS, in the same slot, each beginning with KEYS[1]:
    limit:<limit>:<start>       counters; the window's start in milliseconds
    restored:<limit>:<start>    how much of the counter was restored
    reservations                open ones: ids by the time at which they run out
    reserved:<id>               "o" (open) or "x" (ran out, given back) and what it holds, packed
                                {{what, amount, counter}, …}; or "s" (settled)
    turn:<id>                   a conversation: "<user>\n<state>"
    user-conversations:<user>   ids by expiry

  Returns one reply for each operation.
  Bound: 200 calls, and 16 an operation for 64 operations.
]]
local MOST_DROPPED = 256 -- of an index at a time
local prefix = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local MINUTE, DAY = 60000, 86400000

-- Days since 1970 of the first of the month that holds a day, and of the next: Howard Hinnant, "chrono-Compatible
-- Low-Level Date Algorithms".
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
local function window_at(window, at)
  if window == 'flight' then return 0, at end
  if window == 'month' then
    local from, to = month_of(math.floor(at / DAY))
    return from * DAY, to * DAY
  end
  local length = window == 'minute' and MINUTE or DAY
  local start = math.floor(at / length) * length
  return start, start + length
end
local function whole(number) return string.format('%.0f', number) end

-- Counters are read once and written once, however many operations use them: key -> {value, if it is there; change;
-- when it ends, if reserved under; how long it is kept from now on, if it has no end}.
local counters = {}
local function read(keys)
  local missing = {}
  for _, key in ipairs(keys) do -- the limits of an operation
    if not counters[key] then
      counters[key] = { change = 0 }
      missing[#missing + 1] = key
    end
  end
  if #missing == 0 then return end
  for i, value in ipairs(redis.call('MGET', unpack(missing))) do -- the limits of an operation
    counters[missing[i]].value = value and tonumber(value)
  end
end
local function used(key)
  local counter = counters[key]
  return (counter.value or 0) + counter.change
end
-- Only what is still there: a counter that is gone is of a window that is over.
local function correct(changes)
  local keys = {}
  for key in pairs(changes) do keys[#keys + 1] = key end -- the counters of an operation
  read(keys)
  for key, change in pairs(changes) do -- the counters of an operation
    local counter = counters[key]
    if counter.value or counter.ends then counter.change = counter.change + change end
  end
end
local function write_counters()
  for key, counter in pairs(counters) do -- those of all operations
    -- Below zero it would give away what it never held: some of it was lost, and counted anew.
    if used(key) < 0 then counter.change = -(counter.value or 0) end
    if counter.change ~= 0 or (counter.ends and not counter.value) then
      if counter.keep then
        redis.call('SET', key, whole(used(key)), 'PX', whole(counter.keep))
      elseif counter.value then
        redis.call('INCRBY', key, whole(counter.change))
      else
        redis.call('SET', key, whole(counter.change), 'PXAT', whole(counter.ends))
      end
    end
  end
end

local begun, over = {}, {}
local function held_by(value) return cmsgpack.unpack(string.sub(value, 2)) end

local swept = false
local function give_back_what_ran_out()
  if swept then return end
  swept = true
  local late = redis.call('ZRANGEBYSCORE', prefix .. 'reservations', '-inf', whole(now), 'LIMIT', 0, 64)
  for _, id in ipairs(late) do -- 64
    local key = prefix .. 'reserved:' .. id
    local value = redis.call('GET', key)
    if value and string.sub(value, 1, 1) == 'o' then
      redis.call('SET', key, 'x' .. string.sub(value, 2), 'KEEPTTL')
      local changes = {}
      for _, one in ipairs(held_by(value)) do changes[one[3]] = -one[2] end -- its limits
      correct(changes)
    end
    over[#over + 1] = id
  end
end

local function limit_of(name)
  local what, window = string.match(name, ':(%a+):(%a+)$')
  return { name = name, what = what, window = window }
end

local function counter_key(limit, start) return prefix .. 'limit:' .. limit.name .. ':' .. whole(start) end

-- Reads what is used of each limit now.
local function look_at(limits)
  local keys = {}
  for _, limit in ipairs(limits) do -- its limits
    local start
    start, limit.ends = window_at(limit.window, now)
    limit.key = counter_key(limit, start)
    keys[#keys + 1] = limit.key
    if limit.window == 'minute' then
      limit.before = counter_key(limit, start - MINUTE)
      keys[#keys + 1] = limit.before
    end
  end
  read(keys)
  for _, limit in ipairs(limits) do -- its limits
    limit.used = used(limit.key)
    limit.is_new = not counters[limit.key].value and not counters[limit.key].ends
    -- The minute before counts by the part of it that is less than a minute ago.
    if limit.before then limit.used = limit.used + math.ceil(used(limit.before) * (limit.ends - now) / MINUTE) end
  end
end

local function tell(reply, limits)
  for _, limit in ipairs(limits) do -- its limits
    reply[#reply + 1] = limit.used
    reply[#reply + 1] = limit.ends - now
    reply[#reply + 1] = limit.is_new and 1 or 0
  end
  return reply
end

local function reserve(id, ttl, remember, amounts, limits)
  give_back_what_ran_out()
  local mine = prefix .. 'reserved:' .. id
  local known = redis.call('EXISTS', mine) == 1
  look_at(limits)
  local refused = 0
  for i, limit in ipairs(limits) do -- its limits
    limit.amount = amounts[limit.what]
    if refused == 0 and not known and limit.used + limit.amount > limit.max then refused = i end
  end
  local takes = refused == 0 and not known
  if takes then
    local held = {}
    for i, limit in ipairs(limits) do -- its limits
      held[i] = { limit.window == 'flight' and 'flight' or limit.what, limit.amount, limit.key }
    end
    -- First of all writes: a full Redis refuses it, and nothing has been counted.
    redis.call('SET', mine, 'o' .. cmsgpack.pack(held), 'PX', whole(ttl + remember))
    begun[#begun + 1] = whole(now + ttl)
    begun[#begun + 1] = id
  end
  for _, limit in ipairs(takes and limits or {}) do -- its limits
    local counter = counters[limit.key]
    counter.change = counter.change + limit.amount
    counter.ends = limit.ends + MINUTE
    -- As long as any reservation that it counts is remembered.
    if limit.window == 'flight' then counter.keep = math.max(counter.keep or 0, ttl + remember) end
    limit.used = limit.used + limit.amount
  end
  return tell({ refused }, limits)
end

local function settle(id, actual)
  local value = redis.call('SET', prefix .. 'reserved:' .. id, 's', 'XX', 'KEEPTTL', 'GET')
  if not value then return 2 end
  if value == 's' then return 0 end
  -- One that ran out has been given back already.
  local open = string.sub(value, 1, 1) == 'o'
  local changes = {}
  for _, one in ipairs(held_by(value)) do -- its limits
    local change = actual[one[1]] - (open and one[2] or 0)
    if change ~= 0 then changes[one[3]] = change end
  end
  correct(changes)
  over[#over + 1] = id
  return 1
end

local function count(limit, start, ends, amount)
  local key = counter_key(limit, start)
  read({ key })
  counters[key].change = counters[key].change + amount
  counters[key].ends = ends + MINUTE
end

local function charge(id, remember, at, actual, names)
  -- First of all writes, as in `reserve`.
  if settle(id, actual) ~= 2 then return end
  redis.call('SET', prefix .. 'reserved:' .. id, 's', 'PX', whole(remember))
  for _, name in ipairs(names) do -- its limits
    local limit = limit_of(name)
    local start, ends = window_at(limit.window, at)
    -- Of minutes, the one before still counts.
    local matters = limit.window == 'minute' and ends + MINUTE > now or ends > now
    if limit.window ~= 'flight' and matters then count(limit, start, ends, actual[limit.what]) end
  end
end

local function restore(name, amount)
  local limit = limit_of(name)
  local start, ends = window_at(limit.window, now)
  local mark = prefix .. 'restored:' .. name .. ':' .. whole(start)
  local before = tonumber(redis.call('GET', mark) or '0')
  if amount <= before then return end
  redis.call('SET', mark, whole(amount), 'PXAT', whole(ends + MINUTE))
  count(limit, start, ends, amount - before)
end

local function converse(id, user, state, ttl, erased, asked)
  local marks = redis.call('MGET', prefix .. erased, prefix .. 'erased:')
  if math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= asked then
    return redis.call('GET', prefix .. 'turn:' .. id)
  end
  local before = redis.call('SET', prefix .. 'turn:' .. id, user .. '\n' .. state, 'PX', ttl, 'GET')
  local index = prefix .. 'user-conversations:' .. user
  if redis.call('ZADD', index, now + ttl, id) == 1 then
    local old = redis.call('ZCOUNT', index, '-inf', now)
    if old > 0 then redis.call('ZREMRANGEBYRANK', index, 0, math.min(old, MOST_DROPPED) - 1) end
  end
  if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, ttl) end
  return before
end

local function amounts(requests, tokens, nano_usd)
  return { requests = requests, tokens = tokens, nanoUsd = nano_usd, flight = 0 }
end
local function run(operation)
  local name, id = operation[1], operation[2]
  if name == 'reserve' then
    local limits = {}
    for i = 8, #operation, 2 do -- its limits
      limits[#limits + 1] = limit_of(operation[i])
      limits[#limits].max = operation[i + 1]
    end
    return reserve(id, operation[3], operation[4], amounts(operation[5], operation[6], operation[7]), limits)
  elseif name == 'settle' then
    return settle(id, amounts(operation[3], operation[4], operation[5]))
  elseif name == 'look' then
    local limits = {}
    for i = 3, #operation do limits[#limits + 1] = limit_of(operation[i]) end -- its limits
    look_at(limits)
    return tell({}, limits)
  elseif name == 'charge' then
    local names = { unpack(operation, 8) }
    return charge(id, operation[3], operation[4], amounts(operation[5], operation[6], operation[7]), names)
  elseif name == 'restore' then
    return restore(id, operation[3])
  else
    return converse(id, operation[3], operation[4], operation[5], operation[6], operation[7])
  end
end

local replies = {}
for i, operation in ipairs(cjson.decode(ARGV[1])) do -- the batch
  local done, reply = pcall(run, operation)
  if not done then reply = type(reply) == 'table' and reply or redis.error_reply(tostring(reply)) end
  replies[i] = reply or false
end
write_counters()
if #over > 0 then redis.call('ZREM', prefix .. 'reservations', unpack(over)) end
if #begun > 0 then redis.call('ZADD', prefix .. 'reservations', unpack(begun)) end
return replies
