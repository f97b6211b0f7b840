"""Wakes the leader's relay, which looks once a second by itself: this only spares the wait."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.queue import keys
from shared.together import Together


def relay_waker(redis: Redis) -> Callable[[], Awaitable[None]]:
    """Together: of runs that end at the same moment each would take a connection of its own to say the same."""

    async def wake(callers: Sequence[None]) -> Sequence[None]:
        with suppress(RedisError, OSError):
            await redis.publish(keys.NOTICES, "relay")
        return callers

    return partial(Together(wake), None)
