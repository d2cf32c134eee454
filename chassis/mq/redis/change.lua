#!lua flags=allow-oom
-- change.lua moves the switch, if it is as the caller knows it.
-- KEYS: the switch, its history. ARGV: the epoch that the caller knows (0: there is no switch), the caller, whether only the opener may do it while
-- its lease runs ('1'), whether the epoch stays ('1'), the caller's lease in ms ('' for the opener's as it is), channel, line for the history ('' for
-- none), and then fields and values.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local was = redis.call('HMGET', KEYS[1], 'epoch', 'opener', 'lease')
if tonumber(was[1] or '0') ~= tonumber(ARGV[1]) then
  return 0
end
if ARGV[3] == '1' and was[2] ~= ARGV[2] and tonumber(was[3] or '0') > now then
  return 0
end
for i = 8, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'opener', ARGV[2], 'lease', string.format('%.0f', now + ARGV[5]))
end
if ARGV[4] ~= '1' then
  local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  redis.call('HSET', KEYS[1], 'since', string.format('%.0f', now))
  redis.call('PUBLISH', ARGV[6], epoch)
end
if ARGV[7] ~= '' then
  redis.call('LPUSH', KEYS[2], string.format('%.0f ', now) .. ARGV[7])
  redis.call('LTRIM', KEYS[2], 0, 99)
end
return 1
