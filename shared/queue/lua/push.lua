-- KEYS: queue, wake. ARGV: score, member, score, member, …
-- One token wakes one worker; whoever takes passes it on while something is left.
redis.call('ZADD', KEYS[1], 'NX', unpack(ARGV))
if redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('RPUSH', KEYS[2], '1')
end
return redis.status_reply('OK')
