-- Reads what a batch needs, and tries a small write.
--
-- KEYS  the keys of the small writes, the baselines, the metadata, the outbox
-- ARGV  1 number of small writes  2 of baselines  3 of metadata keys  4 of outboxes (0 or 1)
--       then the fields of a baseline
-- Returns the text of the error of a small write ('' without one); then for each baseline its fields; then for each
-- metadata key its text; then the length of the outbox. A key of another type gives 0 (-1: the outbox).

local checks, baselines, metas, outboxes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- Writes that change nothing, because the keys never exist. A replica refuses them: after a failover the old primary
-- can live on as a replica, and keeps its connections. It would answer reads with old baselines, and events would be
-- compared with those. A server without memory refuses them too: it would refuse the commits of the batch.
local refusal = ''
for check = 1, checks do
  local written = redis.pcall('SET', KEYS[check], '', 'XX')
  if type(written) == 'table' and written.err then
    refusal = written.err
    -- The client connects anew when the whole call fails with this error.
    local read_only = string.find(refusal, 'READONLY', 1, true)
    if read_only then return redis.error_reply(string.sub(refusal, read_only)) end
  end
end

local results = {refusal}
local failure

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

local first_meta = checks + baselines + 1
for key = checks + 1, first_meta - 1 do add(redis.pcall('HMGET', KEYS[key], unpack(ARGV, 5)), 0) end
for key = first_meta, first_meta + metas - 1 do add(redis.pcall('GET', KEYS[key]), 0) end
if outboxes > 0 then add(redis.pcall('XLEN', KEYS[#KEYS]), -1) end
return failure or results
