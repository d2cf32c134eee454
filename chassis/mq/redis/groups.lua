#!lua flags=allow-oom
-- groups.lua makes a group of every queue, where it is not there: it sees what is there.
-- KEYS: the queues. ARGV: group.
for _, queue in ipairs(KEYS) do
  redis.pcall('XGROUP', 'CREATE', queue, ARGV[1], '0', 'MKSTREAM') -- BUSYGROUP: it is there
end
return redis.status_reply('OK')
