-- KEYS: queue, taken, wake. ARGV: older than this many seconds, how many at most.
local now = redis.call('TIME')
local stale = redis.call('ZRANGE', KEYS[2], '-inf', now[1] + now[2] / 1000000 - ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, member in ipairs(stale) do
  redis.call('ZADD', KEYS[1], 'NX', 1, member)
  redis.call('ZREM', KEYS[2], member)
end
if #stale > 0 and redis.call('LLEN', KEYS[3]) == 0 then
  redis.call('RPUSH', KEYS[3], '1')
end
return #stale
