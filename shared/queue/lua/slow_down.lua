-- Nobody gets a turn for ARGV[1] milliseconds. A longer stop that is in force stays; its value is what it was set for, and one
-- with more left than that is a clock's that was ahead.
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) or left > (tonumber(redis.pcall('GET', KEYS[1])) or 0) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[1])
end
return left
