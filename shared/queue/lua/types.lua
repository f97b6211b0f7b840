-- KEYS: the marker, other keys. Their types, in this order; then the marker's value, where it is a string.
local types = {}
for i, key in ipairs(KEYS) do types[i] = redis.call('TYPE', key).ok end
if types[1] == 'string' then types[#types + 1] = redis.call('GET', KEYS[1]) end
return types
