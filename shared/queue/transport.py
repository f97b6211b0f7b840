"""The transport on Redis: bare ids in sorted sets, a handful of Lua scripts, nothing that needs an expiry.

A message is the text `run id:attempt`. Its score is the run's priority, never a time (rule 3): among equals the ids
decide, and they sort by age. A worker that takes messages moves them aside in the same script; if it dies before the
ledger has answered, the sweeper moves them back.
"""

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import islice
from typing import cast

from asyncpg.pgproto.pgproto import UUID  # a uuid.UUID that is read and written ten times as fast
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from shared.ports import Message
from shared.queue import keys

#: Redis's Lua cannot unpack much more than this at once.
CHUNK = 1000
#: PostgreSQL's integer.
MAX_ATTEMPT = 2**31 - 1
_MESSAGE = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([1-9][0-9]{0,9})")


class RedisTransport:
    """See `shared.ports.Transport`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._push = self._script("push")
        self._take = self._script("take")
        self._return = self._script("return_stale")
        self._give_back = self._script("give_back")
        self._park = self._script("park")

    def _script(self, name: str):  # type: ignore[no-untyped-def]  # redis-py's Script has no public type
        return self._redis.register_script((files("shared.queue") / "lua" / f"{name}.lua").read_text())

    async def push(self, queue: str, messages: Sequence[Message]) -> None:
        for chunk in _chunks(messages):
            args = [part for m in chunk for part in (m.priority, _encode(m))]
            await self._push(keys=[keys.queue(queue), keys.wake(queue)], args=args)

    async def take(self, queue: str, most: int) -> list[Message]:
        return await self._readable(
            queue, await self._take(keys=_where_taken(queue), args=[min(most, CHUNK)])
        )

    async def wait_and_take(self, queue: str, most: int, timeout_s: float) -> list[Message]:
        # Redis runs the script as soon as the wait is over: asking for it then would cost another way there and back.
        where = _where_taken(queue)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.blpop([keys.wake(queue)], timeout=cast(int, timeout_s))
            pipe.evalsha(self._take.sha, len(where), *where, str(min(most, CHUNK)))
            waited, raw = await pipe.execute(raise_on_error=False)
        if isinstance(waited, Exception) and not (isinstance(raw, list) and raw):  # what is taken is taken
            raise waited
        if isinstance(raw, NoScriptError):  # Redis was started anew
            return await self.take(queue, most)
        if isinstance(raw, Exception):
            raise raw
        return await self._readable(queue, raw)

    async def _readable(self, queue: str, raw: Sequence[bytes]) -> list[Message]:
        messages, unreadable = [], []
        for member in raw:
            message = _decode(member)
            if message is None:
                unreadable.append(member)
            else:
                messages.append(message)
        if unreadable:
            await self._park(keys=[keys.taken(queue), keys.PARKED], args=unreadable)
        return messages

    async def acknowledge(self, queue: str, messages: Iterable[Message]) -> None:
        for chunk in _chunks(messages):
            await self._redis.zrem(keys.taken(queue), *map(_encode, chunk))

    async def give_back(self, queue: str, messages: Iterable[Message]) -> None:
        for chunk in _chunks(messages):
            await self._give_back(keys=[keys.queue(queue), keys.taken(queue)], args=[*map(_encode, chunk)])

    async def return_stale(self, queue: str, older_than_s: float) -> int:
        if not await self._redis.exists(keys.taken(queue)):
            return 0  # as nearly always: one cheap command
        names = [keys.queue(queue), keys.taken(queue), keys.wake(queue)]
        return int(await self._return(keys=names, args=[older_than_s, CHUNK]))

    async def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        lost: list[Message] = []
        for chunk in _chunks(messages):
            members = [_encode(m) for m in chunk]
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zmscore(keys.queue(queue), members)
                pipe.zmscore(keys.taken(queue), members)
                waiting, taken = await pipe.execute()
            lost += [m for m, a, b in zip(chunk, waiting, taken, strict=True) if a is None and b is None]
        return lost

    async def depth(self, queue: str) -> int:
        return int(await self._redis.zcard(keys.queue(queue)))


def _where_taken(queue: str) -> list[str]:
    return [keys.queue(queue), keys.taken(queue), keys.wake(queue)]


def _encode(message: Message) -> str:
    return f"{message.run_id!s}:{message.attempt}"


def _decode(member: bytes) -> Message | None:
    """None for what no push can have written: another spelling of a message would never be acknowledged."""
    matched = _MESSAGE.fullmatch(member)
    if matched is None or int(matched[2]) > MAX_ATTEMPT:
        return None
    return Message(UUID(matched[1].decode()), int(matched[2]))


def _chunks(messages: Iterable[Message]) -> Iterable[list[Message]]:
    rest = iter(messages)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
