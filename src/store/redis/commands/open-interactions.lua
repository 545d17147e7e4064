--[[
  Notes answers that are on their way, unless they have ended meanwhile; again, when their completion's id is known.
  Rows of one tenant.

  KEYS[1]         what the tenant's keys start with

  ARGV[1]         how long an answer may take, milliseconds
  ARGV[2]         how long a completion's id is known, milliseconds
  then, for each row:
  ARGV[3 + 6i]    interaction id
  ARGV[4 + 6i]    user
  ARGV[5 + 6i]    a hash of the user
  ARGV[6 + 6i]    time of the interaction, milliseconds
  ARGV[7 + 6i]    completion id, or ""
  ARGV[8 + 6i]    summary

  Uses keys that are not in KEYS, in the same slot: markers, completions, log indices and the
  index (see append-interactions.lua).
  Bound: 1 call, and 19 a row for 64 rows.
]]
local MOST_ANSWERS = 16 -- with one completion id
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- As in append-interactions.lua.
local function with_answer(lines, hash, id, ts)
  local all, count = { hash .. ' ' .. id .. ' ' .. ts }, 1
  for line in string.gmatch(lines or '', '[^\n]+') do -- at most MOST_ANSWERS
    if count < MOST_ANSWERS and not string.find(line, ' ' .. id .. ' ', 1, true) then
      all[#all + 1] = line
      count = count + 1
    end
  end
  return table.concat(all, '\n')
end

for at = 3, #ARGV, 6 do -- the batch
  local id, user, hash, ts, completion_id, summary = unpack(ARGV, at, at + 5)
  local marker, index = KEYS[1] .. 'interaction:' .. id, KEYS[1] .. 'user-log:' .. user
  -- Of a user who has been erased since they asked nothing is noted.
  local marks = redis.call('MGET', KEYS[1] .. 'erased:' .. hash, KEYS[1] .. 'erased:')
  local erased = math.max(tonumber(marks[1] or '-1'), tonumber(marks[2] or '-1')) >= tonumber(ts)
  local is_open = not erased and not is_in_log(KEYS[1], id, tonumber(ts))
  local is_new = is_open and redis.call('SET', marker, 'o' .. summary, 'NX', 'PX', ARGV[1])
  if is_new then
    redis.call('ZADD', index, now, 'o:' .. id)
    -- An index that holds ended answers lives longer: only a new one gets a time.
    if redis.call('PTTL', index) < 0 then redis.call('PEXPIRE', index, ARGV[1]) end
  end
  if completion_id ~= '' and is_open and (is_new or string.sub(redis.call('GET', marker) or '', 1, 1) == 'o') then
    local completion = KEYS[1] .. 'completion:' .. completion_id
    redis.call('SET', completion, with_answer(redis.call('GET', completion), hash, id, ts), 'PX', ARGV[2])
  end
end
