-- Reserves the next turn of a rate, on Redis's own time. KEYS: when the turn after the last one is (µs), and the stop. ARGV:
-- µs between two turns, µs that the caller would wait at most. Answers how long to wait, in µs; where that is too long, nothing
-- is reserved, and the answer is negative.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0), now + redis.call('PTTL', KEYS[2]) * 1000)
local wait = at - now
if wait > tonumber(ARGV[2]) then
  return -wait
end
local following = at + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1)
return wait
