-- Reads the log of all events, and values of keys, at one moment.
--
-- KEYS  1 the log, then the keys whose values are wanted
-- ARGV  1 the position after which entries are wanted  2 most entries, 0 for none
-- Returns the id of the oldest entry ('' without one), the newest id that the log ever had, 1 if the log has ever given up an
-- entry and else 0, 1 if it has the entry after which entries are wanted and else 0, an array of the values (false for a key without a text), then the id and the event of each entry. The event is '' for an entry without one.

local log = KEYS[1]
local answer = { '', '0-0', 0, 0, {} }
local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
if oldest[1] then answer[1] = oldest[1][1] end
-- The log may not exist yet.
local info = redis.pcall('XINFO', 'STREAM', log)
if not info.err then
  local of = {}
  for field = 1, #info, 2 do of[info[field]] = info[field + 1] end
  answer[2] = of['last-generated-id']
  -- Redis 6 does not count what was added.
  if not of['entries-added'] or of['entries-added'] > of['length'] then answer[3] = 1 end
end
for key = 2, #KEYS do
  local value = redis.pcall('GET', KEYS[key])
  answer[5][key - 1] = type(value) == 'string' and value
end
if ARGV[2] ~= '0' then
  if redis.call('XRANGE', log, ARGV[1], ARGV[1])[1] then answer[4] = 1 end
  for _, entry in ipairs(redis.call('XRANGE', log, '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
    local event = ''
    for field = 1, #entry[2], 2 do
      if entry[2][field] == 'event' then event = entry[2][field + 1] end
    end
    table.insert(answer, entry[1])
    table.insert(answer, event)
  end
end
return answer
