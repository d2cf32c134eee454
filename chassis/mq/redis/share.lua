#!lua flags=allow-oom
-- share.lua says that an instance of a group lives, and returns the queues that it may read: a fair share of all. It takes those that nobody has
-- or whose owner is not heard of any more, and leaves what is more than its share to the others. A queue that it is working on it leaves when
-- that is done: until then nobody else may read it, nor may this one go on with it. An instance that leaves has no share, and takes none from
-- others.
-- KEYS: when each instance's lease ends, the owner of each queue, when the leases of those that leave end. ARGV: instance, lease in ms, number
-- of queues, whether it leaves ('1'), queues it is working on, first those that it would keep.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leaves = ARGV[4] == '1'
redis.call('ZREM', KEYS[leaves and 1 or 3], ARGV[1])
redis.call('ZADD', KEYS[leaves and 3 or 1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local lives, instances = {}, 0
for _, key in ipairs({KEYS[1], KEYS[3]}) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
  for _, one in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    lives[one] = true
    if key == KEYS[1] then instances = instances + 1 end
  end
end
local fair = leaves and 0 or math.ceil(ARGV[3] / instances)
local owner, all = {}, redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do owner[all[i]] = all[i + 1] end

local mine, busy, has = {}, {}, 0
for i = 5, #ARGV do
  if owner[ARGV[i]] == ARGV[1] then
    busy[ARGV[i]] = true
    has = has + 1
    if has <= fair then table.insert(mine, ARGV[i]) end
  end
end
for i = 0, ARGV[3] - 1 do
  local queue = tostring(i)
  if owner[queue] == ARGV[1] and not busy[queue] then
    if has < fair then
      has = has + 1
      table.insert(mine, queue)
    else
      redis.call('HDEL', KEYS[2], queue)
    end
  end
end
for i = 0, ARGV[3] - 1 do
  local queue = tostring(i)
  if has < fair and owner[queue] ~= ARGV[1] and not lives[owner[queue] or ''] then
    redis.call('HSET', KEYS[2], queue, ARGV[1])
    has = has + 1
    table.insert(mine, queue)
  end
end
return mine
