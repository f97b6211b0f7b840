"""The lock in Redis that one scheduler holds. `README.md` says what it is worth."""

import secrets
from collections.abc import Sequence
from typing import Any, cast

from redis.exceptions import RedisError

from shared.core.trust import Grant, attempt_timeout_s
from shared.queue import keys
from shared.queue.connection import connect_blocking

# KEYS: lock. ARGV: token, TTL in ms. 0: it is ours; else for how many ms it is somebody else's. One without expiry, which
# only a person can have made, gets one: it would shut out everybody for ever.
_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left == -1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return math.max(left, 1)
"""
# KEYS: lock. ARGV: token, TTL in ms.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS: lock. ARGV: token, channel.
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], 'released')
return 1
"""


class LeaderLock:
    """Blocking, with short time-outs, on a connection of its own. Not for two threads at once."""

    def __init__(self, redis_url: str, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._token = ""
        self._redis = connect_blocking(
            redis_url, timeout_s=attempt_timeout_s(ttl_s), client_name="cuebx-leader"
        )

    def acquire(self) -> float:
        """0.0 where the lock is ours now; else for how many seconds it may be somebody else's. Raises RedisError."""
        token = secrets.token_hex(16)  # a new one each time: an old grant cannot be mistaken for this one
        remaining_ms = self._call(_ACQUIRE, [token, str(int(self.ttl_s * 1000))])
        if remaining_ms == 0:
            self._token = token
        return remaining_ms / 1000

    def renew(self) -> Grant:
        try:
            renewed = self._call(_RENEW, [self._token, str(int(self.ttl_s * 1000))])
        except RedisError:
            return Grant.UNKNOWN
        return Grant.RENEWED if renewed else Grant.REFUSED

    def release(self) -> bool:
        """Whether it was still ours. Best effort: where Redis does not answer, the lock expires."""
        token, self._token = self._token, ""
        try:
            return bool(token) and bool(self._call(_RELEASE, [token, keys.LEADER_CHANNEL]))
        except RedisError:
            return False

    def close(self) -> None:
        self._redis.close()

    def _call(self, script: str, args: Sequence[str]) -> int:
        return int(cast(Any, self._redis.eval(script, 1, keys.LEADER, *args)))
