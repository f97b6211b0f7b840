"""Keys of ours that somebody else has used: one of another type would fail every command on it, for ever."""

import secrets
from collections.abc import Awaitable, Mapping
from importlib.resources import files
from typing import Final, cast

from redis.asyncio import Redis

from shared.core.jobspec import Queue
from shared.queue import keys

_SCRIPT: Final = (files("shared.queue") / "lua" / "types.lua").read_text()
_TYPES: Final[Mapping[str, str]] = {
    keys.MARKER: "string",
    keys.PARKED: "list",
    **{keys.queue(queue): "zset" for queue in Queue},
    **{keys.taken(queue): "zset" for queue in Queue},
    **{keys.wake(queue): "list" for queue in Queue},
}


async def set_aside(redis: Redis) -> list[str]:
    """Renames what is of another type, or is no counter, to `<PARKED>:<key>:<random>`, and lists that name among what is
    parked (invariant S). The keys it had; they are free then. Raises redis's errors."""
    found: list[bytes] = await redis.register_script(_SCRIPT)(keys=list(_TYPES))
    strangers = [
        key
        for (key, wanted), kind in zip(_TYPES.items(), found, strict=False)
        if kind.decode() not in (wanted, "none")
    ]
    if len(found) > len(_TYPES) and not _is_counter(found[-1]):
        strangers.append(keys.MARKER)
    for key in sorted(strangers, key=keys.PARKED.__ne__):  # the list itself first
        aside = f"{keys.PARKED}:{key.removeprefix(keys.PREFIX)}:{secrets.token_hex(4)}"
        await redis.renamenx(key, aside)
        await cast(Awaitable[int], redis.rpush(keys.PARKED, aside))
    return strangers


def _is_counter(value: bytes) -> bool:
    # Redis counts up to 2⁶³ - 1, and so does PostgreSQL's copy.
    return value.isdigit() and len(value) < 19
