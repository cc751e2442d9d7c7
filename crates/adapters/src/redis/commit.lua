-- Commits rows one after the other. Each row is committed atomically or not at all, whatever happens to the others:
-- baseline, hot keys, renewed times to live, dedupe markers, publications, entries of the log and of the outbox.
--
-- KEYS  for each row:
--         the baseline
--         with a predecessor: the baseline of the row of the same batch that must be committed first
--         the keys to set, the keys to delete, the markers, the keys to renew
--         with outbox entries: the outbox where events wait
--         with a log: the log of all events
-- ARGV  1 number of rows
--       then for each row:
--         1 data time (ms)  2 stream  3 sequence number  4 values  5 baseline ttl (s)  6 occurrence
--         7 data time, 8 stream, 9 sequence number of the predecessor ('' without one)
--         10 number of keys to set  11 of keys to delete  12 of publications  13 of keys to renew  14 of outbox entries
--         15 how many events stay in the log, 0 without one
--         16 number of arguments that follow for this row
--         then for each key to set: value, ttl (s)
--         then for each publication: marker ttl (s), payload, number of channels, channels
--         then for each key to renew: ttl (s)
--         then the text of each outbox entry
-- Returns for each row the number of events published on channels; or -1 late, -2 already applied, -3 missing predecessor; or the
-- text of an error. A negative number means that nothing was changed.

local HEADER = 16

-- True if sequence number a is at most b. They have up to 40 digits, beyond 2^53: compare by length, then as text.
local function at_most(a, b)
  a, b = string.gsub(a, '^0+', ''), string.gsub(b, '^0+', '')
  if #a ~= #b then return #a < #b end
  return a <= b
end

-- The version under a key, and whether the key has another type. The names are ours: such a key counts as no baseline,
-- and is replaced.
local function version(key)
  local fields = redis.pcall('HMGET', key, 'time', 'stream', 'sequence')
  if not fields.err then return fields, false end
  if string.find(fields.err, 'WRONGTYPE', 1, true) then return {}, true end
  return redis.call('HMGET', key, 'time', 'stream', 'sequence'), false -- the same error, which ends the row
end

-- True once the server has taken a write of this call. It then takes all others.
local writable = false

-- Whether the log of this call has another type; nil before it was asked. The names are ours: such a key is replaced.
local foreign_log

local function is_foreign(log)
  local length = redis.pcall('XLEN', log)
  if type(length) ~= 'table' then return false end
  if string.find(length.err, 'WRONGTYPE', 1, true) then return true end
  redis.call('XLEN', log) -- the same error, which ends the row
end

-- Commits the row whose keys begin at key, and whose arguments begin at arg.
local function commit(key, arg)
  -- 1. Decide. This is the rule commit_decision of events-core.
  local baseline, time, stream, sequence = KEYS[key], ARGV[arg], ARGV[arg + 1], ARGV[arg + 2]
  local stored, replace = version(baseline)
  if stored[1] and tonumber(stored[1]) and stored[2] and stored[3] then
    if tonumber(time) < tonumber(stored[1]) then return -1 end
    if tonumber(time) == tonumber(stored[1]) and stream == stored[2] and at_most(sequence, stored[3]) then return -2 end
  end
  key = key + 1
  if ARGV[arg + 6] ~= '' then
    local first = version(KEYS[key])
    local same_row = first[1] == ARGV[arg + 6] and first[2] == ARGV[arg + 7] and first[3]
    if not same_row or not (at_most(first[3], ARGV[arg + 8]) and at_most(ARGV[arg + 8], first[3])) then return -3 end
    key = key + 1
  end
  local sets, deletes, publications, renewals, entries = tonumber(ARGV[arg + 9]), tonumber(ARGV[arg + 10]),
    tonumber(ARGV[arg + 11]), tonumber(ARGV[arg + 12]), tonumber(ARGV[arg + 13])
  local first_set, first_delete = key, key + sets
  local first_marker = first_delete + deletes
  local first_renewal = first_marker + publications
  local outbox = KEYS[first_renewal + renewals]
  local log, log_length = nil, ARGV[arg + 14]
  if log_length ~= '0' then log = KEYS[first_renewal + renewals + (entries > 0 and 1 or 0)] end

  -- 2. Provoke every foreseeable error here, before the first change: Redis does not undo what a script wrote before an
  -- error. The errors are an outbox of another type, and a server that refuses writes. PUBLISH does not
  -- count as a write: an out-of-memory server executes it and refuses the writes after it. Therefore first make a write
  -- that changes nothing: set a marker only if it exists. Afterwards only a missing permission can fail.
  if entries > 0 then redis.call('XLEN', outbox) end
  if log and foreign_log == nil then foreign_log = is_foreign(log) end
  if publications > 0 and not writable then
    redis.call('SET', KEYS[first_marker], '1', 'XX', 'KEEPTTL')
    writable = true
  end

  -- 3. Append to the log, publish, append to the outbox, write the hot keys, renew times to live.
  local set_arg = arg + HEADER
  local next_arg = set_arg + 2 * sets
  local published = 0
  for marker = first_marker, first_renewal - 1 do
    local ttl, payload, channels = ARGV[next_arg], ARGV[next_arg + 1], tonumber(ARGV[next_arg + 2])
    if redis.call('EXISTS', KEYS[marker]) == 0 then
      -- The log first: it is a write, which the server can still deny, and then nothing has been published.
      if log then
        if foreign_log then
          redis.call('DEL', log)
          foreign_log = false
        end
        redis.call('XADD', log, 'MAXLEN', '~', log_length, '*', 'event', payload)
      end
      if channels > 0 then published = published + 1 end
      for channel = next_arg + 3, next_arg + 2 + channels do
        redis.call('PUBLISH', ARGV[channel], payload)
      end
      redis.call('SET', KEYS[marker], '1', 'EX', ttl)
    end
    next_arg = next_arg + 3 + channels
  end
  local renewal_arg = next_arg
  for entry = renewal_arg + renewals, renewal_arg + renewals + entries - 1 do
    redis.call('XADD', outbox, '*', 'message', ARGV[entry])
  end
  for set = 0, sets - 1 do
    redis.call('SET', KEYS[first_set + set], ARGV[set_arg + 2 * set], 'EX', ARGV[set_arg + 2 * set + 1])
  end
  for delete = first_delete, first_marker - 1 do
    redis.call('DEL', KEYS[delete])
  end
  for renewal = 0, renewals - 1 do
    redis.call('EXPIRE', KEYS[first_renewal + renewal], ARGV[renewal_arg + renewal])
  end

  -- 4. Write the baseline last. If the server denies a command above, because the user lacks a permission, the row is not
  -- committed and is delivered again. The markers then keep its events from being published twice.
  if replace then redis.call('DEL', baseline) end
  redis.call('HSET', baseline, 'time', time, 'stream', stream, 'sequence', sequence,
    'values', ARGV[arg + 3], 'occurrence', ARGV[arg + 5])
  redis.call('EXPIRE', baseline, ARGV[arg + 4])
  return published
end

-- The number of keys of the row whose arguments begin at arg.
local function key_count(arg)
  local keys = 1
  if ARGV[arg + 6] ~= '' then keys = keys + 1 end
  for count = arg + 9, arg + 12 do keys = keys + tonumber(ARGV[count]) end
  if ARGV[arg + 13] ~= '0' then keys = keys + 1 end
  if ARGV[arg + 14] ~= '0' then keys = keys + 1 end
  return keys
end

local results, key, arg = {}, 1, 2
for row = 1, tonumber(ARGV[1]) do
  local done, result = pcall(commit, key, arg)
  if not done then
    -- A command's error is a table, or a text before Redis 7.
    if type(result) == 'table' then result = result.err end
    -- A replica refuses every row. The client connects anew when the whole call fails with this error.
    local read_only = string.find(result, 'READONLY', 1, true)
    if read_only then return redis.error_reply(string.sub(result, read_only)) end
  end
  results[row] = result
  key, arg = key + key_count(arg), arg + HEADER + tonumber(ARGV[arg + 15])
end
return results
