-- KEYS: queue, taken, wake. ARGV: older than this many seconds, how many at most.
-- What was taken in the future is stale, too: the server's clock was set back meanwhile.
local now = redis.call('TIME')
local at = now[1] + now[2] / 1000000
local stale = redis.call('ZRANGE', KEYS[2], '-inf', at - ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
if #stale == 0 then
  stale = redis.call('ZRANGE', KEYS[2], '(' .. string.format('%.6f', at), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])
end
for _, member in ipairs(stale) do
  redis.call('ZADD', KEYS[1], 'NX', 1, member)
  redis.call('ZREM', KEYS[2], member)
end
if #stale > 0 and redis.call('LLEN', KEYS[3]) == 0 then
  redis.call('RPUSH', KEYS[3], '1')
end
return #stale
