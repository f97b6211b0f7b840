"""A rate that all workers share: turns are reserved in Redis, on Redis's own time, evenly spaced."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.resources import files
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.core.errors import RateLimited
from shared.queue import keys
from shared.together import Together

#: Without Redis there is no telling what the other workers do: wait for it, at no cost.
AWAY_RETRY_S: Final = 2.0
#: Connections are made one at a time: behind a silent Redis the last of many callers would wait for minutes.
SLOW_DOWN_WITHIN_S: Final = 2.0
#: Of the rate, what is used. A request that left in time and arrives late shares its second with one more than it should.
PACE: Final = 0.98
#: Who waited longer than this asks whether everybody was stopped meanwhile.
LOOK_AGAIN_S: Final = 0.02


class RedisRateLimiter:
    """See `shared.ports.RateLimiter`. Fails closed: without Redis nobody gets a turn.

    A turn is reserved before it is waited for, so that who wakes up late delays nobody but himself: the rate is used up to
    its last turn, whatever the load of the machines. A turn whose owner dies is lost, and no more than that.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        scripts = files("shared.queue") / "lua"
        self._turn = redis.register_script((scripts / "turn.lua").read_text())
        self._slow_down = redis.register_script((scripts / "slow_down.lua").read_text())
        # Together: of many callers each would take a connection of its own, and there are fewer of them than callers.
        self._reserving: dict[tuple[str, int], Together[float, float]] = {}
        self._looking: dict[str, Together[None, bool]] = {}
        self._stopping: dict[str, Together[float, None]] = {}

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    wait_s = await self._reserve(name, rate_per_s, deadline - time.monotonic())
                    await asyncio.sleep(wait_s)
                    if wait_s < LOOK_AGAIN_S or not await self._is_stopped(name):
                        return
        except TimeoutError:
            raise _not_now(name, 1 / rate_per_s) from None
        except (RedisError, OSError) as error:
            raise RateLimited(f"no limit without Redis: {type(error).__name__}", AWAY_RETRY_S) from error

    async def slow_down(self, name: str, for_s: float) -> None:
        # Without Redis `acquire` fails closed: everybody stands still anyway.
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(SLOW_DOWN_WITHIN_S):
                await self._stopping.setdefault(name, Together(partial(self._stop, name)))(for_s)

    async def _stop(self, name: str, for_s: Sequence[float]) -> list[None]:
        await self._slow_down(keys=[_stop_key(name)], args=[max(1, round(max(for_s) * 1000))])
        return [None] * len(for_s)

    async def _reserve(self, name: str, rate_per_s: int, most_s: float) -> float:
        """Seconds until the turn that is ours now. Raises RateLimited where it is further away than `most_s`."""
        together = self._reserving.get((name, rate_per_s))
        if together is None:
            interval_us = math.ceil(1e6 / (rate_per_s * PACE))
            together = self._reserving[name, rate_per_s] = Together(partial(self._turns, name, interval_us))
        wait_s = await together(most_s)
        if wait_s < 0:
            raise _not_now(name, -wait_s)
        return wait_s

    async def _turns(self, name: str, interval_us: int, most_s: Sequence[float]) -> list[float]:
        waits_us = await self._turn(
            keys=[f"{keys.LIMIT}{name}", _stop_key(name)],
            args=[interval_us, *(max(0, int(most * 1e6)) for most in most_s)],
        )
        return [int(wait_us) / 1e6 for wait_us in waits_us]

    async def _is_stopped(self, name: str) -> bool:
        """Asked anew for everybody who asks; who asks while an answer is under way has the next one."""
        together = self._looking.setdefault(name, Together(partial(self._stopped, name)))
        return await together(None)

    async def _stopped(self, name: str, callers: Sequence[None]) -> list[bool]:
        return [await self._redis.pttl(_stop_key(name)) > 0] * len(callers)


def _stop_key(name: str) -> str:
    return f"{keys.LIMIT}stop:{name}"


def _not_now(name: str, retry_after_s: float) -> RateLimited:
    return RateLimited(f"{name}: no turn within the time to wait", retry_after_s=max(0.05, retry_after_s))
