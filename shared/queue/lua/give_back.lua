-- KEYS: queue, taken. ARGV: messages that were taken and not claimed. They go to the front of the queue.
for _, member in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 'NX', 1, member)
  redis.call('ZREM', KEYS[2], member)
end
return redis.status_reply('OK')
