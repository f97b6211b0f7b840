"""Tells `cuebx status` that this worker lives: one small hash in Redis that expires by itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.lifecycle import Component
from shared.queue import keys
from worker_svc.attempts import Attempts

EVERY_S = 5.0
EXPIRES_S = 16


class Presence(Component):
    name = "presence"

    def __init__(self, redis: Redis, process: str, queues: Sequence[str], attempts: Attempts) -> None:
        self._redis = redis
        self._key = keys.process("worker", process)
        self._queues = queues
        self._attempts = attempts

    async def run(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.hset(
                        self._key, mapping={"queues": ",".join(self._queues), "running": len(self._attempts)}
                    )
                    pipe.expire(self._key, EXPIRES_S)
                    await pipe.execute()
            await asyncio.sleep(EVERY_S)

    async def stop(self) -> None:
        with suppress(RedisError, OSError):
            await self._redis.delete(self._key)
