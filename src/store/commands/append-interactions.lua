--[[
  Appends interactions to the log, each once, and makes them findable.
  Rows of one tenant. Ids are known for as long as rows are kept, so a batch whose reply was lost can be sent again.

  KEYS[1]         stream of interactions
  then, for each row:
  KEYS[2 + 5i]    marker of the interaction: "o<summary>" while on its way, "e<stream id>" when it has ended
  KEYS[3 + 5i]    completion id -> interaction id
  KEYS[4 + 5i]    log index of the user, in order of arrival: "i:<stream id>", "r:<stream id>", "o:<interaction id>", "p:<idempotency key's hash>"
  KEYS[5 + 5i]    when the user was erased, milliseconds
  KEYS[6 + 5i]    prompt text

  ARGV[1]         retention, milliseconds
  then, for each row:
  ARGV[2 + 7i]    interaction id
  ARGV[3 + 7i]    time of the interaction, milliseconds
  ARGV[4 + 7i]    user
  ARGV[5 + 7i]    completion id, or ""
  ARGV[6 + 7i]    document, without text
  ARGV[7 + 7i]    prompt text, or ""
  ARGV[8 + 7i]    when the text is deleted, milliseconds, or ""

  Returns the number of rows that were new.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local retention = tonumber(ARGV[1])
local oldest = string.format('%d', math.max(0, now - retention))
local added = 0

-- A stream id as a number: milliseconds, and 4096ths of one for entries of the same millisecond (a double has no finer).
local function order_of(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms) + math.min(tonumber(seq), 4095) / 4096
end

-- Of every row at once: what its marker says, and when its user was erased.
local rows = (#ARGV - 1) / 7
local asked = {}
for row = 0, rows - 1 do
  asked[#asked + 1] = KEYS[2 + row * 5]
  asked[#asked + 1] = KEYS[5 + row * 5]
end
local answers = redis.call('MGET', unpack(asked))
local known = {}
for i, key in ipairs(asked) do known[key] = answers[i] end

for row = 0, rows - 1 do
  local marker, completion, index, erased, text =
    KEYS[2 + row * 5], KEYS[3 + row * 5], KEYS[4 + row * 5], KEYS[5 + row * 5], KEYS[6 + row * 5]
  local id, ts, user = ARGV[2 + row * 7], tonumber(ARGV[3 + row * 7]), ARGV[4 + row * 7]
  local completion_id, json = ARGV[5 + row * 7], ARGV[6 + row * 7]
  local prompt, prompt_until = ARGV[7 + row * 7], ARGV[8 + row * 7]

  local state = known[marker] and string.sub(known[marker], 1, 1)
  if state ~= 'e' then
    local erased_at = known[erased]
    if erased_at and tonumber(erased_at) >= ts then
      redis.call('DEL', marker)
      redis.call('ZREM', index, 'o:' .. id)
    else
      -- First of all writes: a full Redis refuses it, and with it the script; it lets a script that has begun to write go on.
      local entry = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*',
        'id', id, 'user', user, 'completion', completion_id, 'json', json)
      redis.call('SET', marker, 'e' .. entry, 'PX', retention)
      known[marker] = 'e'
      if completion_id ~= '' then redis.call('SET', completion, id, 'PX', retention) end
      if prompt ~= '' then
        local keep = retention
        if prompt_until ~= '' then keep = math.min(keep, tonumber(prompt_until) - now) end
        if keep > 0 then redis.call('SET', text, prompt, 'PX', string.format('%d', keep)) end
      end
      if state == 'o' then redis.call('ZREM', index, 'o:' .. id) end
      redis.call('ZADD', index, order_of(entry), 'i:' .. entry)
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
