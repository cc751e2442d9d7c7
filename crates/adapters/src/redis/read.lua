-- Reads what a batch needs.
--
-- KEYS  the baselines, the metadata, the outbox
-- ARGV  1 number of baselines  2 of metadata keys  3 of outboxes (0 or 1)
--       then the fields of a baseline
-- Returns for each baseline its fields; then for each metadata key its text; then the length of the outbox. A key of
-- another type gives 0 (-1: the outbox).

local baselines, metas, outboxes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local results, failure = {}, nil

-- Adds the answer of a command to the results. A key of another type is no error.
local function add(answer, of_another_type)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then
      answer = of_another_type
    else
      failure = failure or answer
    end
  end
  results[#results + 1] = answer
end

for key = 1, baselines do add(redis.pcall('HMGET', KEYS[key], unpack(ARGV, 4)), 0) end
for key = baselines + 1, baselines + metas do add(redis.pcall('GET', KEYS[key]), 0) end
if outboxes > 0 then add(redis.pcall('XLEN', KEYS[#KEYS]), -1) end
return failure or results
