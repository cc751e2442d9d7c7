-- Removes entries of the outbox that are done, takes or keeps the lease, and returns the next page.
--
-- KEYS  1 the outbox  2 its lease
-- ARGV  1 the caller's id  2 the number of its pass over the outbox  3 how long the lease lasts (ms)
--       4 most entries in the page; 0 releases the lease  5 the id after which the page begins ('' for the oldest entry)
--       6 and following: ids of entries that are done
-- Returns the number of entries left, 1 if the caller holds the lease and 0 otherwise, then the id and the message of
-- each entry. The message is '' for an entry without one, which this processor did not write.

-- Draining frees memory, so it must work on a server that is out of memory. Redis refuses a script whose first write
-- needs memory, but continues a script that has already written. Therefore write first with XDEL, which needs no memory.
redis.call('XDEL', KEYS[1], '0-0')
-- Entries that are in the queue are removed even by a process that has lost the lease.
for index = 6, #ARGV do redis.call('XDEL', KEYS[1], ARGV[index]) end
local answer = { redis.call('XLEN', KEYS[1]), 0 }

-- A command can arrive late, when its caller has given it up and makes the next pass. It must not touch the lease of that
-- pass, or another process could drain at the same time.
local lease = redis.call('GET', KEYS[2])
if lease then
  local holder, pass = string.match(lease, '^(.*):(%d+)$')
  if holder ~= ARGV[1] or tonumber(pass) > tonumber(ARGV[2]) then return answer end
end
answer[2] = 1

local page = {}
if ARGV[4] ~= '0' then
  local from = '-'
  if ARGV[5] ~= '' then from = '(' .. ARGV[5] end
  -- Read 8 entries at a time and stop after 4 MiB: an entry may hold up to 1 MiB, and the caller must hold the page.
  local bytes, most = 0, tonumber(ARGV[4])
  while #page < most and bytes < 4194304 do
    local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(8, most - #page))
    for _, entry in ipairs(some) do
      table.insert(page, entry)
      for _, part in ipairs(entry[2]) do bytes = bytes + #part end
      from = '(' .. entry[1]
    end
    if #some == 0 then break end
  end
end
if #page == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
end
for _, entry in ipairs(page) do
  local message = ''
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'message' then message = entry[2][field + 1] end
  end
  table.insert(answer, entry[1])
  table.insert(answer, message)
end
return answer
