"""Redis, simulated: the three queues' sorted sets, the leader's lock, the marker. It can forget, and remember wrongly."""

import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from scheduler_svc import leader_lock
from shared.ports import Message
from shared.queue import keys
from tests.model.processes import Process, Server
from tests.model.world import World

Member = tuple[Any, int]


class Redis(Server):
    """The server, and what it remembers. It also is what a process takes for its client, transport and lock script."""

    def __init__(self, world: World) -> None:
        super().__init__("redis", timeout_s=0.5, error=RedisConnectionError)
        self.world = world
        self.identity = 1
        self.forgot_at = float("-inf")
        self.forget()

    # ------------------------------------------------------------------------------------------------- faults

    def forget(self) -> None:
        """All of it, as after FLUSHALL."""
        self.queued: dict[str, dict[Member, float]] = defaultdict(dict)
        self.taken: dict[str, dict[Member, float]] = defaultdict(dict)
        self.values: dict[str, Any] = {}
        self.lock: tuple[str, float] | None = None
        self.forgot_at = self.world.now

    def remember(self) -> Any:
        return copy.deepcopy((self.queued, self.taken, self.values, self.lock))

    def restart(self, snapshot: Any = None) -> None:
        """Comes up with nothing, or with what was once."""
        self.forget()
        self.identity += 1
        if snapshot is not None:
            self.queued, self.taken, self.values, self.lock = copy.deepcopy(snapshot)

    # ---------------------------------------------------------------------------------------------- transport

    def _ask(self, what: str, do: Any, detail: Any = None) -> Any:
        return self.world.ask(self, what, do, detail=detail)

    def _score(self, message: Message) -> float:
        """Rule 3: a priority. Without it, when to look, by the clock of whoever pushes."""
        if self.world.rules.on(3) or self.world.asking is None:
            return message.priority
        return self.world.now + self.world.asking.skew_s

    def waiting(self, queue: str, by: Process | None) -> list[Member]:
        """What there is to take, in order; without rule 3, what is due by the taker's clock."""
        if not self.queued[queue]:
            return []
        members = sorted(self.queued[queue], key=lambda member: (self.queued[queue][member], member))
        if self.world.rules.on(3) or by is None:
            return members
        return [each for each in members if self.queued[queue][each] <= self.world.now + by.skew_s]

    async def push(self, queue: str, messages: Sequence[Message]) -> None:
        def do() -> None:
            for message in messages:
                self.queued[queue].setdefault(_member(message), self._score(message))

        self._ask("push", do, [_short(m) for m in messages])

    async def take(self, queue: str, most: int) -> list[Message]:
        def do() -> list[Message]:
            front = self.waiting(queue, self.world.asking)[:most]
            for member in front:
                del self.queued[queue][member]
                self.taken[queue][member] = self.world.now
            return [Message(*member) for member in front]

        messages: list[Message] = self._ask("take", do)
        return messages

    async def acknowledge(self, queue: str, messages: Iterable[Message]) -> None:
        members = [_member(message) for message in messages]
        self._ask("acknowledge", lambda: [self.taken[queue].pop(m, None) for m in members] and None)

    async def give_back(self, queue: str, messages: Iterable[Message]) -> None:
        members = [_member(message) for message in messages]

        def do() -> None:
            for member in members:
                self.queued[queue].setdefault(member, 1)
                self.taken[queue].pop(member, None)

        self._ask("give_back", do)

    async def return_stale(self, queue: str, older_than_s: float) -> int:
        """Rule 8: what a dead worker took comes back. Without it, as with arq's in-progress keys, it does not for minutes."""

        def do() -> int:
            if not self.world.rules.on(8):
                return 0
            stale = [m for m, at in self.taken[queue].items() if at <= self.world.now - older_than_s]
            for member in stale:
                self.queued[queue].setdefault(member, 1)
                del self.taken[queue][member]
            return len(stale)

        number: int = self._ask("return_stale", do)
        return number

    async def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        def do() -> list[Message]:
            known = {*self.queued[queue], *self.taken[queue]}
            return [m for m in messages if _member(m) not in known] if self.world.rules.on(14) else []

        lost: list[Message] = self._ask("missing", do)
        return lost

    # ------------------------------------------------------------------------------------------ lock and marker

    def eval(self, script: str, _: int, key: str, token: str, argument: str) -> int:
        """The leader lock's three scripts."""

        def do() -> int:
            now = self.world.now
            if self.lock is not None and self.lock[1] <= now:
                self.lock = None
            if script == leader_lock._ACQUIRE and self.lock is not None:
                return max(1, int((self.lock[1] - now) * 1000))
            if script != leader_lock._ACQUIRE and (self.lock is None or self.lock[0] != token):
                return 0
            if script == leader_lock._RELEASE:
                self.lock = None
                return 1
            self.lock = (token, now + int(argument) / 1000)
            return 0 if script == leader_lock._ACQUIRE else 1

        names = {
            leader_lock._ACQUIRE: "acquire lock",
            leader_lock._RENEW: "renew lock",
            leader_lock._RELEASE: "release lock",
        }
        answer: int = self._ask(names[script], do)
        return answer

    async def incr(self, key: str) -> int:
        def do() -> int:
            self.values[key] = self.values.get(key, 0) + 1
            return int(self.values[key])

        number: int = self._ask("count", do)
        return number

    async def set(self, key: str, value: int) -> None:
        self._ask("set", lambda: self.values.__setitem__(key, value))

    @asynccontextmanager
    async def pipeline(self, transaction: bool) -> AsyncIterator["Pipeline"]:
        yield Pipeline(self)


class Pipeline:
    """The one that `RedisMemory` uses."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def info(self, section: str) -> None:
        """Part of the one answer."""

    def get(self, key: str) -> None:
        """Part of the one answer."""

    async def execute(self) -> list[Any]:
        redis = self._redis

        def do() -> list[Any]:
            forgetful = not redis.world.rules.on(14)  # the marker of somebody who never looks
            known = {"run_id": 1 if forgetful else redis.identity}
            return [known, {}, 10**9 if forgetful else redis.values.get(keys.MARKER)]

        answer: list[Any] = redis._ask("look", do)
        return answer


def _member(message: Message) -> Member:
    return message.run_id, message.attempt


def _short(message: Message) -> str:
    return f"{message.run_id.int}:{message.attempt}"
