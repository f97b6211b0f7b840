"""Sends frozen batches in the background, a few at a time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from shared.core.decide import error_text
from shared.core.errors import Fenced, PauseQueue, RateLimited
from shared.db import reminder_batches
from shared.db.errors import is_outage
from shared.db.reminder_batches import Batch
from shared.db.reminders import Fence
from shared.ports import MailRefused
from worker_svc.context import JobContext
from worker_svc.reminder_sending import BatchSender

BATCHES_AT_ONCE: Final = 4
#: So many batches of unclear outcome: more would only be more for a person to look at.
UNCLEAR_AT_MOST: Final = 3
EVERYBODYS: Final = (Fenced, PauseQueue, RateLimited, MailRefused)


class Outbox:
    """Batches handed to `send` go out in the background; leaving the context waits for them.

    After the first error that concerns everybody no new call starts, those under way are waited for, and it is raised. Any
    other error is its batch's own, and must not stop the others: see `broken`. `on_sent` is called after each batch that the
    provider took.
    """

    def __init__(self, context: JobContext, on_sent: Callable[[], Awaitable[None]] | None = None) -> None:
        self._context = context
        self._places = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._broken_batches = 0
        #: The error of a batch that cannot be worked on, if there was one: the run has to say so in the end.
        self.broken: str | None = None
        self.counts: Counter[str] = Counter()
        self._sender = BatchSender(context, self.counts, lambda: self._error is not None, on_sent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):  # cancelled: so are the calls
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None and self._error is not None:
            raise self._error

    @property
    def in_doubt(self) -> bool:
        """Whether so much is unclear that nothing new should be begun."""
        return self._sender.unclear_batches + self._broken_batches >= UNCLEAR_AT_MOST

    async def send(self, batch: Batch) -> None:
        """Waits for a free place. Raises the first error of a batch sent earlier."""
        await self._places.acquire()
        if self._error is not None:
            self._places.release()
            raise self._error
        task = asyncio.create_task(self._work(batch), name=f"batch:{batch.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def adopt_open(self, *, only_own: bool = False) -> None:
        """Goes on with what an earlier attempt, or a run that has ended, left open. Returns when that has an outcome: what is
        new comes after it."""
        fence = Fence(self._context.run.id, self._context.run.attempt)
        while True:
            async with self._context.services.database.begin() as db:
                batch = await reminder_batches.adopt(
                    db, fence, statuses=("pending", "sending"), only_own=only_own
                )
            if batch is None:
                break
            self._context.log.info(
                "reminder_batch_adopted", batch_id=str(batch.id), status=batch.status, calls=batch.calls
            )
            await self.send(batch)
        await asyncio.gather(*self._tasks)
        if self._error is not None:
            raise self._error

    async def _work(self, batch: Batch) -> None:
        try:
            await self._sender.go_on(batch)
        except EVERYBODYS as error:
            self._error = self._error or error
        except Exception as error:
            if is_outage(error):
                self._error = self._error or error
            else:
                self._note_broken(batch, error)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            self._places.release()

    def _note_broken(self, batch: Batch, error: Exception) -> None:
        self._context.log.error("reminder_batch_broken", batch_id=str(batch.id), exc_info=error)
        self.counts["broken"] += len(batch.members)
        self._broken_batches += 1
        self.broken = self.broken or f"reminder batch {batch.id}: {error_text(error)}"
