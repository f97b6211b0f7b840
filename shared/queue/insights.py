"""What Redis knows beside the ledger: which processes live, whether a leader does, what was parked."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.queue import keys

MOST_PROCESSES = 10_000


@dataclass(frozen=True, slots=True)
class ProcessView:
    """A process that reported within its last few heartbeats; `facts` is what it says about itself."""

    kind: str
    name: str
    facts: dict[str, str]


async def live_processes(redis: Redis) -> list[ProcessView]:
    """Schedulers and workers that live, by kind and name."""
    prefix = keys.process("", "")[:-1]
    found: list[ProcessView] = []
    async for key in redis.scan_iter(match=f"{prefix}*", count=1000):
        try:
            facts: dict[bytes, bytes] = await cast(Awaitable[Any], redis.hgetall(key))
        except ResponseError:
            continue  # no hash: no process of ours made it
        if facts:  # it may have expired meanwhile
            kind, _, name = _readable(key).removeprefix(prefix).partition(":")
            found.append(ProcessView(kind, name, {_readable(k): _readable(v) for k, v in facts.items()}))
        if len(found) >= MOST_PROCESSES:
            break
    return sorted(found, key=lambda process: (process.kind, process.name))


def _readable(told: bytes) -> str:
    return told.decode(errors="replace")


async def leader_lives(redis: Redis) -> bool:
    """Whether somebody holds the leader's lock."""
    return bool(await redis.exists(keys.LEADER))


async def parked(redis: Redis) -> int:
    """Messages that could not be read, kept for a person (invariant S)."""
    return int(await cast(Awaitable[Any], redis.llen(keys.PARKED)))
