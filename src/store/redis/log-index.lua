--[[
  The index of a tenant's log: to which entries of the stream an interaction's id leads ("i:<id>"), and a completion's
  ("c:<id>"). Put before the scripts that ask for it.

  It lies in small hashes, which Redis keeps packed: a key for each answer takes seven times as much.
    index                     slices by themselves: 2^28 ms of the rows' own time; the score tells also how many digits
                              of a name's hash name a hash by now (8 * slice + digits)
    index:<slice>:<digits>    the rest of the hash of a name -> entries, the newest first, as whole numbers
  A slice's first hash has no digits. Where it is full, those of one digit are begun, then those of two.
  They end with the slice's rows (drop-slices.lua), not at a time: how long rows stay may be configured anew.

  refs_of takes 8 calls, add_ref 11, forget_ref 8; asking for a slice's digits one more.
]]
local SLICE_MS, FULL, MOST_DIGITS, MOST_REFS = 268435456, 120, 6, 16
local AT_ONCE = 1024 -- entries of one millisecond that are written as numbers

local function slice_of(ts) return string.format('%.0f', math.floor(ts / SLICE_MS)) end

-- Our own ids end in digits that are as good as a hash.
local function hash_of(name)
  return string.match(name, '^i:req_[0-9a-f-]+(%x%x%x%x%x%x%x%x%x%x)$') or string.sub(redis.sha1hex(name), 1, 10)
end

local digits_in = {}
local function digits_of(prefix, slice)
  if not digits_in[slice] then
    local score = redis.call('ZSCORE', prefix .. 'index', slice)
    digits_in[slice] = score and tonumber(score) % 8 or -1
  end
  return digits_in[slice]
end

local function place_of(prefix, slice, hash, digits)
  return prefix .. 'index:' .. slice .. ':' .. string.sub(hash, 1, digits), string.sub(hash, digits + 1)
end

local function ref_of(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  if tonumber(seq) >= AT_ONCE then return entry end
  return string.format('%.0f', ms * AT_ONCE + seq)
end

local function entry_of(ref)
  if string.find(ref, '-', 1, true) then return ref end
  return string.format('%.0f-%.0f', math.floor(ref / AT_ONCE), ref % AT_ONCE)
end

-- The newest first.
local function refs_of(prefix, slice, name)
  local hash, refs = hash_of(name), {}
  for digits = digits_of(prefix, slice), 0, -1 do -- MOST_DIGITS
    local key, field = place_of(prefix, slice, hash, digits)
    for ref in string.gmatch(redis.call('HGET', key, field) or '', '%S+') do -- MOST_REFS
      refs[#refs + 1] = entry_of(ref)
    end
  end
  return refs
end

local function add_ref(prefix, slice, name, entry)
  local hash, known = hash_of(name), digits_of(prefix, slice)
  local digits, key, field, size = math.max(known, 0)
  while true do -- MOST_DIGITS
    key, field = place_of(prefix, slice, hash, digits)
    size = redis.call('HLEN', key)
    if size < FULL or digits == MOST_DIGITS then break end
    digits = digits + 1
  end
  if digits > known then
    digits_in[slice] = digits
    redis.call('ZADD', prefix .. 'index', string.format('%.0f', 8 * slice + digits), slice)
  end
  if redis.call('HSETNX', key, field, ref_of(entry)) == 0 then
    local refs, count = { ref_of(entry) }, 1
    for ref in string.gmatch(redis.call('HGET', key, field), '%S+') do -- MOST_REFS
      if count < MOST_REFS then
        count = count + 1
        refs[count] = ref
      end
    end
    redis.call('HSET', key, field, table.concat(refs, ' '))
  end
end

local function forget_ref(prefix, slice, name, entry)
  local hash = hash_of(name)
  for digits = 0, digits_of(prefix, slice) do -- MOST_DIGITS
    local key, field = place_of(prefix, slice, hash, digits)
    local found, left = redis.call('HGET', key, field), {}
    for ref in string.gmatch(found or '', '%S+') do -- MOST_REFS
      if entry_of(ref) ~= entry then left[#left + 1] = ref end
    end
    if found and #left == 0 then redis.call('HDEL', key, field) end
    if #left > 0 and table.concat(left, ' ') ~= found then redis.call('HSET', key, field, table.concat(left, ' ')) end
  end
end

-- Earlier releases kept halves of characters, whose escapes the reader of JSON refuses. A backslash may be one itself.
local function decoded(json)
  if string.find(json, '\\u[dD]') then
    json = string.gsub(json, '\\(.)(%x?%x?%x?%x?)', function(kind, digits)
      if kind == 'u' and string.find(digits, '^[dD][89a-fA-F]') then return '\239\191\189' end -- U+FFFD
    end)
  end
  return cjson.decode(json)
end

-- The fields of an entry of the stream, and of a row also "id", "user", "completion", "ts"; nil where it is gone.
local function fields_of(stream, entry)
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if not found then return nil end
  local fields = {}
  for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end -- the fields of an entry
  -- It begins with its id, its tenant, its user, its completion's id, its time.
  fields.row = fields['{ }'] or fields['{}']
  if fields.row then
    local row = decoded(fields.row)
    fields.id, fields.user, fields.ts = row[1], row[3], row[5]
    fields.completion = row[4] ~= cjson.null and row[4] or nil
    fields.is_in_index = fields['{ }'] ~= nil
    fields.values = row
  end
  return fields
end

-- Whether a row with this id is in the log: what the index leads to is looked at, since a hash may be another's, too.
local function is_in_log(prefix, id, ts)
  for i, entry in ipairs(refs_of(prefix, slice_of(ts), 'i:' .. id)) do -- MOST_REFS
    local fields = i <= 2 and fields_of(prefix .. 'interactions', entry)
    if not fields or fields.id == id then return true end
  end
  return false
end

-- What leads to it.
local function forget_row(prefix, fields, entry)
  forget_ref(prefix, slice_of(fields.ts), 'i:' .. fields.id, entry)
  if fields.completion then forget_ref(prefix, slice_of(fields.ts), 'c:' .. fields.completion, entry) end
end

-- What a row shares with others, by the name that stands where its tenant would (src/store/records/shared-row.ts).
-- It ends with the slice's rows, as the index does.
local function share(prefix, slice, id, json, entry)
  local came, ends = tonumber(string.match(entry, '^%d+')), (slice + 1) * SLICE_MS
  if redis.call('HSETNX', prefix .. 'shared:' .. slice, id, json) == 1 or came >= ends then
    redis.call('ZADD', prefix .. 'shared', 'GT', string.format('%.0f', math.max(came, ends)), slice)
  end
end

-- "" of a row that shares nothing; false where it is gone.
local function shared_of(prefix, row)
  if type(row[2]) ~= 'table' then return '' end
  return redis.call('HGET', prefix .. 'shared:' .. slice_of(row[5]), row[2][1])
end
