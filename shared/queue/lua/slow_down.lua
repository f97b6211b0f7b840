-- Nobody gets a turn for ARGV[1] milliseconds. A longer stop that is in force stays.
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return left
