-- One step through the outbox: removes what is done, takes or keeps the lease, gives the next entries.
--
-- KEYS  1 outbox  2 its lease
-- ARGV  1 who asks  2 how long the lease is to last (ms)  3 entries to give at most, 0 to give the lease back
--       4 the id after which to go on ('' for the oldest)  5 and so on: ids of entries that are done
-- Returns the entries left, 1 or 0 for whether the lease is held by who asks, and of each next entry its id and its
-- message ('' where it has none: an entry that nobody of us wrote).

-- A full server refuses a script whose first write takes memory, and lets one go on that has written before. Draining is
-- what makes room: hence a write that takes none.
redis.call('XDEL', KEYS[1], '0-0')
-- What is in the queue is removed even by one who has lost the lease.
for index = 5, #ARGV do redis.call('XDEL', KEYS[1], ARGV[index]) end
local answer = { redis.call('XLEN', KEYS[1]), 0 }

local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return answer end
answer[2] = 1

local page = {}
if ARGV[3] ~= '0' then
  local from = '-'
  if ARGV[4] ~= '' then from = '(' .. ARGV[4] end
  -- Little by little: an entry may hold up to a megabyte, and all of a page must fit into the caller.
  local bytes, most = 0, tonumber(ARGV[3])
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
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
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
