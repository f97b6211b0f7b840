"""A rate that all workers share: GCRA in Redis, on Redis's own time, by `throttled-py`."""

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from throttled.asyncio import RateLimiterRegistry, RateLimiterType, RedisStore, per_sec
from throttled.asyncio import exceptions as throttled_errors
from throttled.types import AsyncRedisClientP

from shared.core.errors import RateLimited
from shared.queue import keys

#: Without Redis there is no telling what the other workers do: wait for it, at no cost.
AWAY_RETRY_S = 2.0
#: Connections are made one at a time: behind a silent Redis the last of many callers would wait for minutes.
SLOW_DOWN_WITHIN_S = 2.0


class RedisRateLimiter:
    """See `shared.ports.RateLimiter`. Fails closed: without Redis nobody gets a turn.

    Turns are even, save for a tenth of a second's worth that may come at once: without it, each late wake-up of a waiter
    would be lost for good.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._store = _SharedStore(redis)
        self._slow_down = redis.register_script((files("shared.queue") / "lua" / "slow_down.lua").read_text())
        # One waiter per process and name asks Redis, the others stand in line behind it: a hundred runs that wait
        # must not ask a hundred times for each turn.
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[str, int] = defaultdict(int)

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        line = self._lines[name]
        self._waiting[name] += 1
        try:
            async with asyncio.timeout(timeout_s):
                async with line:
                    await self._wait_for_turn(name, rate_per_s, deadline)
        except TimeoutError:
            raise _not_now(name, self._waiting[name] / rate_per_s) from None
        except (RedisError, OSError, throttled_errors.StoreUnavailableError) as error:
            raise RateLimited(f"no limit without Redis: {type(error).__name__}", AWAY_RETRY_S) from error
        finally:
            self._waiting[name] -= 1

    async def slow_down(self, name: str, for_s: float) -> None:
        # Without Redis `acquire` fails closed: everybody stands still anyway.
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(SLOW_DOWN_WITHIN_S):
                await self._slow_down(keys=[_stop_key(name)], args=[max(1, round(for_s * 1000))])

    async def _wait_for_turn(self, name: str, rate_per_s: int, deadline: float) -> None:
        limiter = RateLimiterRegistry.get(RateLimiterType.GCRA.value)(
            per_sec(rate_per_s, burst=max(1, rate_per_s // 10)),
            self._store,
            key_prefix=keys.LIMIT.rstrip(":"),
        )
        while True:
            stopped_ms = int(await self._redis.pttl(_stop_key(name)))
            if stopped_ms > 0:
                wait_s = stopped_ms / 1000
            else:
                result = await limiter.limit(name)
                if not result.limited:
                    return
                wait_s = float(result.state.retry_after)
            if time.monotonic() + wait_s > deadline:
                raise _not_now(name, wait_s)
            await asyncio.sleep(wait_s)


class _SharedStore(RedisStore):
    """throttled's store on the process's own client: it would make one without our time-outs, from a URL of its own."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._backend._client = cast(AsyncRedisClientP, redis)  # what `get_client` returns


def _stop_key(name: str) -> str:
    return f"{keys.LIMIT}stop:{name}"


def _not_now(name: str, retry_after_s: float) -> RateLimited:
    return RateLimited(f"{name}: no turn within the time to wait", retry_after_s=max(0.05, retry_after_s))
