"""Freezes a batch and hands it over for sending while the next one is being rendered: PostgreSQL and this process both work."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self

from shared.db.reminders import Fence
from worker_svc.context import JobContext
from worker_svc.reminder_freezing import Rendered, freeze
from worker_svc.reminder_outbox import Outbox


class Freezer:
    """One at a time, in the order of `put`. Leaving the context waits for the last one; with an error it is given up, which a
    transaction survives."""

    def __init__(self, context: JobContext, outbox: Outbox, counts: Counter[str]) -> None:
        self._context = context
        self._fence = Fence(context.run.id, context.run.attempt)
        self._outbox = outbox
        self._counts = counts
        self._task: asyncio.Task[None] | None = None
        #: Reminder rows so far.
        self.written = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.done()
        elif self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def put(self, rendered: Rendered) -> None:
        """Raises the error of the one before."""
        await self.done()
        self._task = asyncio.create_task(self._work(rendered), name=f"freeze:{self._context.run.id}")

    async def done(self) -> None:
        """Until nothing is under way. Raises its error."""
        if self._task is not None:
            await self._task
            self._task = None

    async def _work(self, rendered: Rendered) -> None:
        if self._outbox.in_doubt:
            return  # it has no row yet: a later selection finds it
        self._context.lease.check()
        batch, written = await freeze(self._context, self._fence, rendered)
        self.written += written.total()
        self._counts.update({name: written[name] for name in ("suppressed", "failed")})
        if batch is not None:
            await self._outbox.send(batch)
