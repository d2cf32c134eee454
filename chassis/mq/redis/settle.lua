#!lua flags=allow-oom
-- settle.lua acknowledges entries of a queue for a group, and deletes what the last group has settled: all before the first entry that some
-- group has not read or not acknowledged. XACK alone deletes nothing. It returns 1 when nothing was deleted because the queues are young, else
-- 0.
-- KEYS: the queue, the mark of young queues. ARGV: group, entries, if any.
if #ARGV > 1 then
  redis.call('XACK', KEYS[1], unpack(ARGV))
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 1
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end

local function split(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(n)
end
local low_ms, low_n
for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #one, 2 do group[one[i]] = one[i + 1] end
  local ms, n
  if group['pending'] > 0 then
    ms, n = split(redis.call('XPENDING', KEYS[1], group['name'])[2])
  else
    ms, n = split(group['last-delivered-id'])
    n = n + 1
  end
  if not low_ms or ms < low_ms or ms == low_ms and n < low_n then
    low_ms, low_n = ms, n
  end
end
if low_ms then
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', low_ms, low_n))
end
return 0
