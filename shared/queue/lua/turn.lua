-- Reserves the next turn of a rate, on Redis's own time. KEYS: when the turn after the last one is (µs), and the stop. ARGV:
-- µs between two turns, µs that the caller would wait at most. Answers how long to wait, in µs; where that is too long, nothing
-- is reserved, and the answer is negative.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- What is no number is nobody's turn: an error here would stop everybody, for ever.
local at = tonumber(redis.pcall('GET', KEYS[1])) or 0
-- Nobody waits for a minute: what is further away was written by a clock that was ahead, as was a stop with more time left
-- than it was set for. Redis's own expiry believes that clock, too.
if not (at <= now + 60 * 1000000) then
  at = 0
end
local left = redis.call('PTTL', KEYS[2])
if left > 0 and left > (tonumber(redis.pcall('GET', KEYS[2])) or 0) then
  redis.call('DEL', KEYS[2])
  left = 0
end
at = math.max(now, at, now + left * 1000)
local wait = at - now
if wait > tonumber(ARGV[2]) then
  return -wait
end
local following = at + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1)
return wait
