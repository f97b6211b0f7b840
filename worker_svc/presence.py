"""Tells `cuebx status` that this worker lives: one small hash in Redis that expires by itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.lifecycle import Component
from shared.queue import keys
from shared.queue.telling import Telling
from worker_svc.attempts import Attempts

EVERY_S = 5.0
EXPIRES_S = 16


class Presence(Component):
    name = "presence"

    def __init__(self, redis: Redis, process: str, queues: Sequence[str], attempts: Attempts) -> None:
        self._telling = Telling(redis, keys.process("worker", process), EXPIRES_S)
        self._queues = queues
        self._attempts = attempts

    async def run(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                await self._telling.tell({"queues": ",".join(self._queues), "running": len(self._attempts)})
            await asyncio.sleep(EVERY_S)

    async def stop(self) -> None:
        with suppress(RedisError, OSError):
            await self._telling.end()
