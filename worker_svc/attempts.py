"""The attempts this process is running now, and how each can be told to stop."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from uuid import UUID

from shared.db.ledger import ClaimedRun
from worker_svc.lease import Lease


class Stop(Enum):
    """Why a running handler is stopped from outside."""

    LOST = "lost"  # another attempt owns the run: nothing may be written
    CANCEL = "cancel"  # a person asked
    HAND_BACK = "hand_back"  # this worker is leaving
    TIMEOUT = "timeout"  # the job's own limit


class Attempt:
    """One claimed run while its handler works. Make it where an event loop runs."""

    def __init__(self, run: ClaimedRun, lease: Lease) -> None:
        self.run = run
        self.lease = lease
        self.stopped: Stop | None = None
        #: Done once the handler was told to stop, for those who wait for either.
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handler: asyncio.Task[object] | None = None

    def watch(self, handler: "asyncio.Task[object]") -> None:
        """The task to cancel; at once, if the stop came first."""
        self._handler = handler
        if self.stopped is not None:
            handler.cancel()

    def stop(self, why: Stop) -> None:
        """Cancels the handler, once. The first reason stands, except that a lost lease overrides all."""
        first = self.stopped is None
        if first or why is Stop.LOST:
            self.stopped = why
        if why is Stop.LOST:
            self.lease.lose()
        if not first:
            return  # cancelling again would break into its clean-up
        self.stopping.set_result(None)
        if self._handler is not None:
            self._handler.cancel()


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
