-- Commits one row, atomically or not at all: baseline, hot keys, renewed times to live, dedupe markers, publications,
-- outbox entries.
--
-- KEYS  1 the baseline
--       2 the baseline of the predecessor: the row of the same batch that must be committed first
--       then the keys to set, the keys to delete, the markers, the keys to renew, and the outbox where events wait
-- ARGV  1 data time (ms)  2 stream  3 sequence number  4 values  5 baseline ttl (s)  6 occurrence
--       7 data time, 8 stream, 9 sequence number of the predecessor ('' without one)
--       10 number of keys to set  11 of keys to delete  12 of publications  13 of outbox entries  14 of keys to renew
--       then for each key to set: value, ttl (s)
--       then for each publication: marker ttl (s), payload, number of channels, channels
--       then the text of each outbox entry
--       then for each key to renew: ttl (s)
-- Returns the number of events published; or -1 late, -2 already applied, -3 missing predecessor. A negative result
-- means that nothing was changed.

-- 1. Decide. This is the rule commit_decision of events-core.

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
  return redis.call('HMGET', key, 'time', 'stream', 'sequence'), false -- the same error, which ends the script
end

local stored, replace = version(KEYS[1])
local time, stream, sequence = stored[1], stored[2], stored[3]
if time and tonumber(time) and stream and sequence then
  if tonumber(ARGV[1]) < tonumber(time) then return -1 end
  if tonumber(ARGV[1]) == tonumber(time) and ARGV[2] == stream and at_most(ARGV[3], sequence) then return -2 end
end
if ARGV[7] ~= '' then
  local first = version(KEYS[2])
  local same_row = first[1] == ARGV[7] and first[2] == ARGV[8] and first[3]
  if not same_row or not (at_most(first[3], ARGV[9]) and at_most(ARGV[9], first[3])) then return -3 end
end

-- 2. Provoke every foreseeable error here, before the first change: Redis does not undo what a script wrote before an
-- error. The errors are an outbox of another type, and a server that refuses writes. PUBLISH does not
-- count as a write: an out-of-memory server executes it and refuses the writes after it. Therefore first make a write
-- that changes nothing: set a marker only if it exists. Afterwards only a missing permission can fail.
if ARGV[13] ~= '0' then redis.call('XLEN', KEYS[#KEYS]) end
if ARGV[12] ~= '0' then
  redis.call('SET', KEYS[3 + tonumber(ARGV[10]) + tonumber(ARGV[11])], '1', 'XX', 'KEEPTTL')
end

-- 3. Publish, append to the outbox, write the hot keys, renew times to live.
local sets, deletes, publications, entries, renewals =
  tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local key, arg = 3 + sets + deletes, 15 + 2 * sets
local published = 0
for _ = 1, publications do
  local payload, channels = ARGV[arg + 1], tonumber(ARGV[arg + 2])
  if redis.call('EXISTS', KEYS[key]) == 0 then
    published = published + 1
    for channel = arg + 3, arg + 2 + channels do
      redis.call('PUBLISH', ARGV[channel], payload)
    end
    redis.call('SET', KEYS[key], '1', 'EX', ARGV[arg])
  end
  key, arg = key + 1, arg + 3 + channels
end
for index = arg, arg + entries - 1 do
  redis.call('XADD', KEYS[#KEYS], '*', 'message', ARGV[index])
end
for set = 1, sets do
  redis.call('SET', KEYS[2 + set], ARGV[13 + 2 * set], 'EX', ARGV[14 + 2 * set])
end
for delete = 1, deletes do
  redis.call('DEL', KEYS[2 + sets + delete])
end
for renewal = 0, renewals - 1 do
  redis.call('EXPIRE', KEYS[key + renewal], ARGV[arg + entries + renewal])
end

-- 4. Write the baseline last. If the server denies a command above, because the user lacks a permission, the row is not
-- committed and is delivered again. The markers then keep its events from being published twice.
if replace then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'time', ARGV[1], 'stream', ARGV[2], 'sequence', ARGV[3], 'values', ARGV[4], 'occurrence', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return published
