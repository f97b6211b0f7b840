-- KEYS: taken, parked. ARGV: members that nobody can read. Each is parked once: one that is not aside any more has been
-- parked by a first try whose answer was lost, or has gone back to its queue, where somebody meets it again.
for _, member in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], member) == 1 then
    redis.call('RPUSH', KEYS[2], member)
  end
end
