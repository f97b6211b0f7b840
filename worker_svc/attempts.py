"""The attempts this process is running now, and how each can be told to stop."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from uuid import UUID

from shared.db.ledger import ClaimedRun
from worker_svc.lease import Lease

#: How long a handler that was told to stop may take to unwind before it is left behind.
UNWIND_S = 5.0


class Stop(Enum):
    """Why a running handler is stopped from outside."""

    LOST = "lost"  # another attempt owns the run: nothing may be written
    CANCEL = "cancel"  # a person asked
    HAND_BACK = "hand_back"  # this worker is leaving
    TIMEOUT = "timeout"  # the job's own limit


class Attempt:
    """One claimed run while its handler works."""

    __slots__ = ("_ends_at", "_handler", "_leave", "_limit", "lease", "left_behind", "run", "stopped")

    def __init__(self, run: ClaimedRun, lease: Lease) -> None:
        self.run = run
        self.lease = lease
        self.stopped: Stop | None = None
        #: Its handler did not end although it was told to, and was judged without.
        self.left_behind = False
        self._handler: asyncio.Task[None] | None = None
        self._leave: Callable[[], object] | None = None
        self._ends_at = math.inf
        self._limit: asyncio.TimerHandle | None = None

    def watch(
        self,
        handler: "asyncio.Task[None]",
        leave: Callable[[], object] | None = None,
        *,
        ends_at: float = math.inf,
    ) -> None:
        """The task to cancel; at once, if the stop came first. `leave` is called if it does not end within UNWIND_S
        of that. `ends_at`, by the loop's clock, is when the job's limit is reached."""
        self._handler = handler
        self._leave = leave
        self._ends_at = ends_at
        if self.stopped is not None:
            self._cancel()

    def limit(self) -> None:
        """Sets the time-out. No earlier than the handler awaits something: until then nothing could stop it."""
        if self._handler is not None and self._limit is None and self._ends_at < math.inf:
            loop = asyncio.get_running_loop()
            self._limit = loop.call_at(self._ends_at, self.stop, Stop.TIMEOUT)

    def ended(self) -> None:
        """The handler has: from here on there is nothing to cancel."""
        self._handler = self._leave = None
        if self._limit is not None:
            self._limit.cancel()

    def stop(self, why: Stop) -> None:
        """Cancels the handler, once. The first reason stands, except that a lost lease overrides all."""
        first = self.stopped is None
        if first or why is Stop.LOST:
            self.stopped = why
        if why is Stop.LOST:
            self.lease.lose()
        if first:  # cancelling again would break into its clean-up
            self._cancel()

    def _cancel(self) -> None:
        if self._handler is not None:
            self._handler.cancel()
            asyncio.get_running_loop().call_later(UNWIND_S, self._unwound)

    def _unwound(self) -> None:
        if self._leave is not None:
            self._leave()


class Attempts:
    """All of a process's attempts, over its queues."""

    def __init__(self) -> None:
        self._by_run: dict[UUID, Attempt] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, attempt: Attempt) -> None:
        """A run can come back to the worker that lost it and does not know yet: the new attempt ends the old one."""
        old = self._by_run.get(attempt.run.id)
        self._by_run[attempt.run.id] = attempt
        self._empty.clear()
        if old is not None:
            old.stop(Stop.LOST)

    def remove(self, attempt: Attempt) -> None:
        if self._by_run.get(attempt.run.id) is attempt:
            del self._by_run[attempt.run.id]
        if not self._by_run:
            self._empty.set()

    def find(self, run_id: UUID, attempt: int) -> Attempt | None:
        found = self._by_run.get(run_id)
        return found if found is not None and found.run.attempt == attempt else None

    async def ended(self, within_s: float) -> bool:
        """Waits until nothing runs; False when something still does after `within_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        return self._empty.is_set()

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._by_run.values()))

    def __len__(self) -> int:
        return len(self._by_run)
