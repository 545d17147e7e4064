--[[
  Appends interactions to the log, each once, and makes them findable.
  Rows of one tenant. Ids are known for as long as rows are kept, so a batch whose reply was lost can be sent again.

  KEYS[1]         what the tenant's keys start with

  ARGV[1]         retention, milliseconds
  ARGV[2]         rows, a list in JSON: each is a list of
                    interaction id
                    time of the interaction, milliseconds
                    user
                    key of the time at which the user was erased, without KEYS[1]
                    completion id, or ""
                    prompt text, or ""
                    when the text is deleted, milliseconds, or ""
  ARGV[3 + i]     document of each row, without text

  Uses keys that are not in KEYS, in the same slot, each beginning with KEYS[1]:
    interactions              stream
    interaction:<id>          marker: "o<summary>" while the interaction is on its way, "e<stream id>" when it has ended
    completion:<id>           interaction id
    user-log:<user>           log index of the user, in order of arrival: "i:<stream id>", "r:<stream id>",
                              "o:<interaction id>", "p:<idempotency key's hash>"
    text:<id>                 prompt text
    erased:                   when the tenant was erased, milliseconds

  Returns the number of rows that were new.
]]
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

-- For all rows in one call each: what the marker says, and when the user was erased.
local prefix = KEYS[1]
local rows = cjson.decode(ARGV[2])
local asked = {}
for _, row in ipairs(rows) do
  asked[#asked + 1] = prefix .. 'interaction:' .. row[1]
  asked[#asked + 1] = prefix .. row[4]
end
asked[#asked + 1] = prefix .. 'erased:'
local answers = redis.call('MGET', unpack(asked))
local known = {}
for i, key in ipairs(asked) do known[key] = answers[i] end

local tenant_erased = tonumber(known[prefix .. 'erased:'] or '-1')

local stream = prefix .. 'interactions'
for i, row in ipairs(rows) do
  local id, ts, user, erased, completion_id, prompt, prompt_until = unpack(row)
  local json = ARGV[2 + i]
  local marker, index = prefix .. 'interaction:' .. id, prefix .. 'user-log:' .. user

  local state = known[marker] and string.sub(known[marker], 1, 1)
  if state ~= 'e' then
    local erased_at = known[prefix .. erased]
    if math.max(tonumber(erased_at or '-1'), tenant_erased) >= ts then
      redis.call('DEL', marker)
      redis.call('ZREM', index, 'o:' .. id)
    else
      -- First of all writes: a full Redis refuses it, and with it the script; it lets a script that has begun to
      -- write go on.
      local entry = redis.call('XADD', stream, 'MINID', '~', oldest, '*',
        'id', id, 'user', user, 'completion', completion_id, 'json', json)
      redis.call('SET', marker, 'e' .. entry, 'PX', retention)
      known[marker] = 'e'
      if completion_id ~= '' then redis.call('SET', prefix .. 'completion:' .. completion_id, id, 'PX', retention) end
      if prompt ~= '' then
        local keep = retention
        if prompt_until ~= '' then keep = math.min(keep, tonumber(prompt_until) - now) end
        if keep > 0 then redis.call('SET', prefix .. 'text:' .. id, prompt, 'PX', string.format('%d', keep)) end
      end
      if state == 'o' then redis.call('ZREM', index, 'o:' .. id) end
      redis.call('ZADD', index, order_of(entry, index), 'i:' .. entry)
      -- A hundredth longer than need be: then it is not said again with every row.
      if redis.call('PTTL', index) < retention then
        redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. oldest)
        redis.call('PEXPIRE', index, string.format('%d', retention * 1.01))
      end
      added = added + 1
    end
  end
end
return added
