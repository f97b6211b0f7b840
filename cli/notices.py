"""Notices to the leader: they spare a wait of a second, and may be lost."""

from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.queue import keys


async def wake_relay(redis: Redis) -> None:
    with suppress(RedisError, OSError):
        await redis.publish(keys.NOTICES, "relay")
