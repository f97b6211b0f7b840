-- KEYS: queue, taken, wake. ARGV: how many. Takes from the front and keeps what was taken aside, by Redis's own clock.
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
local members, aside = {}, {}
local now = redis.call('TIME')
local at = now[1] + now[2] / 1000000
for i = 1, #popped, 2 do
  members[#members + 1] = popped[i]
  aside[#aside + 1] = at
  aside[#aside + 1] = popped[i]
end
if #members > 0 then
  redis.call('ZADD', KEYS[2], unpack(aside))
  if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('LLEN', KEYS[3]) == 0 then
    redis.call('RPUSH', KEYS[3], '1')
  end
end
return members
