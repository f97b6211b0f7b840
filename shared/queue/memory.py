"""Whether Redis has room for messages, and keeps those it has."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.health import Readiness
from shared.lifecycle import Component

EVERY_S = 2.0
CHECK = "redis_memory"


def evicts(info: Mapping[str, Any]) -> str | None:
    """What is wrong with the eviction policy in an answer to INFO, if anything; one that is not shown is not judged."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return None
    return f"maxmemory-policy is {policy}: queues may vanish when memory is short"


def is_full(info: Mapping[str, Any]) -> str | None:
    """What is wrong with the memory in an answer to INFO, if anything: a full Redis refuses every message."""
    most = int(info.get("maxmemory", 0))
    used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    if most == 0 or used <= most:
        return None
    return f"full: {used} bytes used, maxmemory is {most}; messages are refused, and runs wait in the ledger"


class MemoryWatch(Component):
    """Has `/readyz` say so. That Redis is away is for others to say."""

    name = "redis-memory"

    def __init__(self, redis: Redis, readiness: Readiness) -> None:
        self._redis = redis
        self._readiness = readiness

    async def run(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                info = await self._redis.info("memory")
                if wrong := [why for why in (evicts(info), is_full(info)) if why is not None]:
                    self._readiness.failed(CHECK, "; ".join(wrong))
                elif CHECK in self._readiness.problems():
                    self._readiness.ok(CHECK)
            await asyncio.sleep(EVERY_S)
