#!lua
-- send.lua adds an event to its queue. Redis refuses it when it is full.
-- KEYS: the queue, the switch. ARGV: epoch ('' for whatever it is), topic, event, bytes that the queue may have, channel of those who look on.
if ARGV[1] ~= '' and redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
  return redis.error_reply('STALE')
end
if (redis.call('MEMORY', 'USAGE', KEYS[1]) or 0) >= tonumber(ARGV[4]) then
  return redis.error_reply('QUEUEFULL')
end
local id = redis.call('XADD', KEYS[1], '*', 't', ARGV[2], 'e', ARGV[3])
redis.call('PUBLISH', ARGV[5], ARGV[3])
return id
