"""What a scheduler tells about itself in Redis, for `cuebx status`; gone a few seconds after it."""

import asyncio
import os
import time
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from scheduler_svc.election import Candidate
from shared.lifecycle import Component
from shared.queue import keys
from shared.queue.telling import Telling

EVERY_S = 3.0
EXPIRES_S = 10


class Presence(Component):
    name = "presence"

    def __init__(self, redis: Redis, candidate: Candidate, holder: str) -> None:
        self._candidate = candidate
        self._telling = Telling(redis, keys.process("scheduler", holder), EXPIRES_S)
        self._started_at = str(time.time())

    async def run(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                await self._tell()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._candidate.changed.wait(), EVERY_S)
            self._candidate.changed.clear()

    async def stop(self) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(0.5):
                await self._telling.end()

    async def _tell(self) -> None:
        term = self._candidate.term
        await self._telling.tell(
            {
                "role": self._candidate.role,
                "term": str(term.number) if term is not None else "",
                "pid": os.getpid(),
                "started_at": self._started_at,
            }
        )
