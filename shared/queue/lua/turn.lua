-- Reserves the next turns of a rate, on Redis's own time. KEYS: when the turn after the last one is (µs), and the stop. ARGV:
-- µs between two turns, then for each caller the µs that it would wait at most. Answers how long each has to wait, in µs; where
-- that is too long, nothing is reserved for it, and the answer is negative.
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
local answers, reserved = {}, false
for caller = 2, #ARGV do
  local wait = at - now
  if wait > tonumber(ARGV[caller]) then
    answers[#answers + 1] = -wait
  else
    answers[#answers + 1] = wait
    at = at + tonumber(ARGV[1])
    reserved = true
  end
end
if reserved then
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1)
end
return answers
