-- One row, atomically or not at all: baseline, hot keys, dedupe markers, publications, and events that must wait.
--
-- KEYS  1 baseline  2 baseline of the row of the same batch that must come first; then the keys to set, the keys to
--       delete, the markers, and the outbox where something is put there
-- ARGV  1 data time (ms)  2 stream  3 sequence number  4 values  5 baseline ttl (s)
--       6 data time, 7 stream, 8 sequence number of the row that must come first ('' for none)
--       9 number of keys to set  10 of keys to delete  11 of publications  12 of events for the outbox
--       then for each key to set: value, ttl (s)
--       then for each publication: marker ttl (s), payload, number of channels, channels
--       then what each entry of the outbox is to hold
-- Returns the number of events published, or -1 late, -2 already applied, -3 out of step: then nothing was changed.
--
-- The reads fail on a key of another type before anything is written, and the first write on a server that takes none;
-- after them only a missing right can.

-- True when sequence number a is not above b: digits beyond 2^53, so by length, then text.
local function not_above(a, b)
  a, b = string.gsub(a, '^0+', ''), string.gsub(b, '^0+', '')
  if #a ~= #b then return #a < #b end
  return a <= b
end

local stored = redis.call('HMGET', KEYS[1], 'time', 'stream', 'sequence')
local time, stream, sequence = stored[1], stored[2], stored[3]
if time and tonumber(time) and stream and sequence then
  if tonumber(ARGV[1]) < tonumber(time) then return -1 end
  if tonumber(ARGV[1]) == tonumber(time) and ARGV[2] == stream and not_above(ARGV[3], sequence) then return -2 end
end
if ARGV[6] ~= '' then
  local first = redis.call('HMGET', KEYS[2], 'time', 'stream', 'sequence')
  local there = first[1] == ARGV[6] and first[2] == ARGV[7] and first[3]
  if not there or not (not_above(first[3], ARGV[8]) and not_above(ARGV[8], first[3])) then return -3 end
end
if ARGV[12] ~= '0' then redis.call('XLEN', KEYS[#KEYS]) end
-- To publish is no write to the server: one that is full, or may not write, would let it through and refuse what follows.
-- A marker that is there is set to what it is; one that is not, is not.
if ARGV[11] ~= '0' then
  redis.call('SET', KEYS[3 + tonumber(ARGV[9]) + tonumber(ARGV[10])], '1', 'XX', 'KEEPTTL')
end

-- The mark is written last: should the server deny a command half-way (its user may lack a right), the row is not done
-- and comes again, and what went out already goes out no more.
local sets, deletes, publications, waiting = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local key, arg = 3 + sets + deletes, 13 + 2 * sets
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
for index = arg, arg + waiting - 1 do
  redis.call('XADD', KEYS[key], '*', 'message', ARGV[index])
end
for set = 1, sets do
  redis.call('SET', KEYS[2 + set], ARGV[11 + 2 * set], 'EX', ARGV[12 + 2 * set])
end
for delete = 1, deletes do
  redis.call('DEL', KEYS[2 + sets + delete])
end
redis.call('HSET', KEYS[1], 'time', ARGV[1], 'stream', ARGV[2], 'sequence', ARGV[3], 'values', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return published
