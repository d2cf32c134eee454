#!lua flags=allow-oom
-- share.lua says that an instance of a group lives, and returns the queues that are its own: a fair share of all. It takes those that nobody has or
-- whose owner is not heard of any more, and leaves what is more than its share to the others, but for those it is working on.
-- KEYS: when each instance's lease ends, the owner of each queue. ARGV: instance, lease in ms, number of queues, queues it is working on.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local instances = redis.call('ZRANGE', KEYS[1], 0, -1)
local lives = {}
for _, one in ipairs(instances) do lives[one] = true end
local fair = math.ceil(ARGV[3] / #instances)
local owner, all = {}, redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do owner[all[i]] = all[i + 1] end

local mine, busy = {}, {}
for i = 4, #ARGV do
  if owner[ARGV[i]] == ARGV[1] then
    busy[ARGV[i]] = true
    table.insert(mine, ARGV[i])
  end
end
for i = 0, ARGV[3] - 1 do
  local queue = tostring(i)
  if owner[queue] == ARGV[1] and not busy[queue] then
    if #mine < fair then
      table.insert(mine, queue)
    else
      redis.call('HDEL', KEYS[2], queue)
    end
  end
end
for i = 0, ARGV[3] - 1 do
  local queue = tostring(i)
  if #mine < fair and owner[queue] ~= ARGV[1] and not lives[owner[queue] or ''] then
    redis.call('HSET', KEYS[2], queue, ARGV[1])
    table.insert(mine, queue)
  end
end
return mine
