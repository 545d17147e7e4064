--[[
  Appends interactions to the log, each once, and makes them findable.
  Rows of one tenant. Ids are known for as long as rows are kept, so a batch whose reply was lost can be sent again.

  KEYS[1]         what the tenant's keys start with

  ARGV[1]         retention, milliseconds
  ARGV[2]         rows, a list in JSON: each is a list of
                    interaction id
                    time of the interaction, milliseconds
                    user
                    a hash of the user
                    completion id, or ""
                    prompt text, or ""
                    when the text is deleted, milliseconds, or ""
                    day, key or "", model; tokens of the prompt and of the answer, nanoUsd
                    name of what the row shares, or "": then it is findable by keys of its own, as earlier versions
                    look for it
  ARGV[3]         how long a day's usage is kept, milliseconds; "": what was used is not counted
  ARGV[4]         users that are counted by themselves in a day; the others are counted as "*"
  ARGV[5]         what rows share, a list in JSON: each is a list of its name and itself, in JSON
  then of each row  its document, or the row itself (a list in JSON), without text: ARGV[4 + 2i] of the i-th, from 1
                    its bytes where it shares, or "": ARGV[5 + 2i]

  Uses keys that are not in KEYS, in the same slot, each beginning with KEYS[1]:
    interactions              stream: "json", a document, beside the "id", "user" and "completion" that are in it; or
                              "{}", a row (src/store/records/row.ts), or "{ }", one that shares, beside "b",
                              its bytes (shared-row.ts); both beside "id" and "completion" where there is a text:
                              an earlier version that erases the user finds it by them
    interaction:<id>          marker: "o<summary>" while the interaction is on its way; "e<stream id>" when one that
                              shares nothing has ended
    completion:<id>           the newest answers with that id, a line each: "<hash of the user> <interaction id>
                              <its time>": those on their way, and those that share nothing
    index…                    of rows that share (log-index.lua)
    shared:<slice>            what they share, by its name
    shared                    those slices, by when the last entry of theirs came or they end, milliseconds
    erased:<hash of a user>   when they were erased
    user-log:<user>           log index of the user, in order of arrival: "i:<stream id>", "r:<stream id>",
                              "o:<interaction id>", "p:<idempotency key's hash>"
    text:<id>                 prompt text
    erased:                   when the tenant was erased, milliseconds
    usage:<day>               what was used: "tenant", "key:<id>" -> lines of model, requests, tokens of prompts and of
                              answers, nanoUsd
    users-usage:<day>         the same by user

  Returns the number of rows that were new.
  Bound: 2 calls, and 53 a row for 64 rows.
]]
local MOST_ANSWERS = 16 -- with one completion id
local MOST_DROPPED = 256 -- of an index at a time
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local retention = tonumber(ARGV[1])
local oldest = string.format('%d', math.max(0, now - retention))
local added = 0

-- A stream id as a number: milliseconds, and 4096ths of one for entries of the same millisecond (a double has no
-- finer). The first of a user that this script appends needs none where no script before it wrote in that millisecond:
-- Redis keeps a whole number in fewer bytes, and compares it faster.
local of_its_own, seen = nil, {}
local function order_of(entry, index)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  if of_its_own == nil then of_its_own = seq == '0' end
  local first = of_its_own and not seen[index]
  seen[index] = true
  return first and ms or tonumber(ms) + math.min(tonumber(seq), 4095) / 4096
end

-- For all rows in one call: what the marker says, when the user was erased, who else has the completion id.
local prefix = KEYS[1]
local rows = cjson.decode(ARGV[2])
local asked = {}
for _, row in ipairs(rows) do -- the batch
  asked[#asked + 1] = prefix .. 'interaction:' .. row[1]
  asked[#asked + 1] = prefix .. 'erased:' .. row[4]
  if row[5] ~= '' then asked[#asked + 1] = prefix .. 'completion:' .. row[5] end
end
asked[#asked + 1] = prefix .. 'erased:'
local answers = redis.call('MGET', unpack(asked))
local known = {}
for i, key in ipairs(asked) do known[key] = answers[i] end -- the batch

-- The answers of a completion id, with one more in front.
local function with_answer(lines, hash, id, ts)
  local all, count = { hash .. ' ' .. id .. ' ' .. string.format('%d', ts) }, 1
  for line in string.gmatch(lines or '', '[^\n]+') do -- at most MOST_ANSWERS
    if count < MOST_ANSWERS and not string.find(line, ' ' .. id .. ' ', 1, true) then
      all[#all + 1] = line
      count = count + 1
    end
  end
  return table.concat(all, '\n')
end

-- What was noted of it while it was on its way.
local function forget_open(completion_id, id)
  local key, left = prefix .. 'completion:' .. completion_id, {}
  for line in string.gmatch(known[key] or '', '[^\n]+') do -- at most MOST_ANSWERS
    if not string.find(line, ' ' .. id .. ' ', 1, true) then left[#left + 1] = line end
  end
  local lines = table.concat(left, '\n')
  if not known[key] or lines == known[key] then return end
  known[key] = lines
  if lines == '' then redis.call('DEL', key) else redis.call('SET', key, lines, 'KEEPTTL') end
end

local shared = {}
for _, each in ipairs(cjson.decode(ARGV[5])) do shared[each[1]] = each[2] end -- of the batch
local is_shared = {}

local tenant_erased = tonumber(known[prefix .. 'erased:'] or '-1')

local usage = {}
local function use(key, name, model, prompt, completion, nano)
  usage[key] = usage[key] or {}
  local models = usage[key][name] or {}
  usage[key][name] = models
  local sum = models[model] or { 0, 0, 0, 0 }
  models[model] = { sum[1] + 1, sum[2] + prompt, sum[3] + completion, sum[4] + nano }
end
local function add_usage(key, names, keep, most)
  local free = most and most - redis.call('HLEN', key)
  for name, models in pairs(names) do -- of the batch
    local before = redis.call('HGET', key, name)
    if most and not before and name ~= '*' then
      free = free - 1
      if free < 0 then before, name = redis.call('HGET', key, '*'), '*' end
    end
    local lines = {}
    for model, r, p, c, n in string.gmatch(before or '', '([^\t\n]+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)') do -- models
      local more = models[model] or { 0, 0, 0, 0 }
      models[model] = { more[1] + r, more[2] + p, more[3] + c, more[4] + n }
    end
    for model, sum in pairs(models) do -- models
      lines[#lines + 1] = string.format('%s\t%.0f\t%.0f\t%.0f\t%.0f', model, sum[1], sum[2], sum[3], sum[4])
    end
    redis.call('HSET', key, name, table.concat(lines, '\n'))
  end
  redis.call('PEXPIRE', key, string.format('%.0f', keep))
end

local stream = prefix .. 'interactions'
for i, row in ipairs(rows) do -- the batch
  local id, ts, user, hash, completion_id, prompt, prompt_until = unpack(row)
  local day, key, model, asked_for, answered, nano, shares = unpack(row, 8)
  local json, slice = ARGV[4 + 2 * i], slice_of(ts)
  local marker, index = prefix .. 'interaction:' .. id, prefix .. 'user-log:' .. user

  local state = known[marker] and string.sub(known[marker], 1, 1)
  if state ~= 'e' and not is_in_log(prefix, id, ts) then
    local erased_at = known[prefix .. 'erased:' .. hash]
    if math.max(tonumber(erased_at or '-1'), tenant_erased) >= ts then
      redis.call('DEL', marker)
      redis.call('ZREM', index, 'o:' .. id)
    else
      -- First of all writes: a full Redis refuses it, and with it the script; it lets a script that has begun to
      -- write go on.
      local add = { 'XADD', stream, 'MINID', '~', oldest, '*' }
      -- A row's field is called "{}": earlier versions read that as a document of no time, and pass it by.
      -- "{ }" is the same to those that read rows, but not those that share.
      if string.sub(json, 1, 1) == '[' then
        add[#add + 1], add[#add + 2] = shares == '' and '{}' or '{ }', json
        if shares ~= '' then add[#add + 1], add[#add + 2] = 'b', ARGV[5 + 2 * i] end
        if prompt ~= '' then
          for _, part in ipairs({ 'id', id, 'completion', completion_id }) do add[#add + 1] = part end -- 4
        end
      else
        for _, part in ipairs({ 'id', id, 'user', user, 'completion', completion_id, 'json', json }) do -- 8
          add[#add + 1] = part
        end
      end
      local entry = redis.call(unpack(add))
      known[marker] = 'e'
      if shares ~= '' then
        if not is_shared[slice .. shares] then share(prefix, slice, shares, shared[shares], entry) end
        is_shared[slice .. shares] = true
        add_ref(prefix, slice, 'i:' .. id, entry)
        if state == 'o' then redis.call('DEL', marker) end
      else
        redis.call('SET', marker, 'e' .. entry, 'PX', retention)
      end
      if completion_id ~= '' and shares ~= '' then
        add_ref(prefix, slice, 'c:' .. completion_id, entry)
        forget_open(completion_id, id)
      elseif completion_id ~= '' then
        local completion = prefix .. 'completion:' .. completion_id
        known[completion] = with_answer(known[completion], hash, id, ts)
        redis.call('SET', completion, known[completion], 'PX', retention)
      end
      if prompt ~= '' then
        local keep = retention
        if prompt_until ~= '' then keep = math.min(keep, tonumber(prompt_until) - now) end
        if keep > 0 then redis.call('SET', prefix .. 'text:' .. id, prompt, 'PX', string.format('%d', keep)) end
      end
      if state == 'o' then redis.call('ZREM', index, 'o:' .. id) end
      redis.call('ZADD', index, order_of(entry, index), 'i:' .. entry)
      -- A hundredth longer than need be: then it is not said again with every row.
      if redis.call('PTTL', index) < retention then
        local old = redis.call('ZCOUNT', index, '-inf', '(' .. oldest)
        if old > 0 then redis.call('ZREMRANGEBYRANK', index, 0, math.min(old, MOST_DROPPED) - 1) end
        redis.call('PEXPIRE', index, string.format('%d', retention * 1.01))
      end
      if ARGV[3] ~= '' then
        use(prefix .. 'usage:' .. day, 'tenant', model, asked_for, answered, nano)
        if key ~= '' then use(prefix .. 'usage:' .. day, 'key:' .. key, model, asked_for, answered, nano) end
        use(prefix .. 'users-usage:' .. day, user, model, asked_for, answered, nano)
      end
      added = added + 1
    end
  end
end
for key, names in pairs(usage) do -- of the batch
  local of_users = string.sub(key, #prefix + 1, #prefix + 12) == 'users-usage:'
  local keep = of_users and math.min(retention, tonumber(ARGV[3])) or tonumber(ARGV[3])
  add_usage(key, names, keep, of_users and tonumber(ARGV[4]))
end
return added
