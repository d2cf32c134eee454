#!lua flags=allow-oom
-- groups.lua makes a group of every queue, where it is not there: it sees what is there. When one was made, the queues are young for a while:
-- Redis may have been emptied, other groups are then about to be made too, and nothing is deleted that they have not seen.
-- KEYS: the queues, the mark of young queues. ARGV: group, for how long they are young, in ms.
local made = false
for i = 1, #KEYS - 1 do
  local answer = redis.pcall('XGROUP', 'CREATE', KEYS[i], ARGV[1], '0', 'MKSTREAM')
  made = made or not answer.err -- BUSYGROUP: it is there
end
if made then
  redis.call('SET', KEYS[#KEYS], 1, 'PX', ARGV[2])
end
return redis.status_reply('OK')
