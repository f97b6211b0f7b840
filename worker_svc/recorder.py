"""Records outcomes, as many at a time as have come together while the last batch was being written."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from shared.db import ledger
from shared.db.engine import Database
from shared.db.errors import is_outage
from shared.lifecycle import Component
from worker_svc.endings import Ending, tell

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.1
RETRY_CAP_S = 2.0
MAX_BATCH = 500
#: How long a stopping worker waits for outcomes that are not written yet.
FLUSH_S = 5.0


class Recorder(Component):
    """A batch never waits for company: the first entry is written at once, those that come meanwhile are the next batch.

    While PostgreSQL is away, outcomes wait: whether the run is still this worker's is for the compare-and-set to say,
    not for the time that has passed.
    """

    name = "recorder"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Ending] = []
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False

    def record(self, ending: Ending) -> None:
        """Soon; the ending hears of it."""
        if self._stopped:
            ending.answer(False)
            return tell([ending])
        self._waiting.append(ending)
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        while True:
            # A batch waits until it is written: what is left of one that a failure broke off is the first of the next `run`.
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                await self._write([ending for ending in batch if ending.ours is None])
                del self._waiting[: len(batch)]
                tell(batch)
            self._idle.set()
            self._news.clear()
            await self._news.wait()

    async def stop(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._idle.wait()
        self._stopped = True

    async def _write(self, batch: Sequence[Ending]) -> None:
        """Commits the batch, however long PostgreSQL is away. What it refuses is written row by row (rule 9)."""
        refused = await self._commit(batch)
        if refused is None:
            return
        if len(batch) > 1:
            for entry in batch:
                await self._write([entry])
            return
        (entry,) = batch
        run_id = str(entry.finished.run_id)
        log.error("outcome_unstorable", run_id=run_id, error=refused)
        entry.park(refused)
        if await self._commit(batch) is not None:
            log.error("outcome_lost", run_id=run_id)
            entry.answer(False)

    async def _commit(self, batch: Sequence[Ending]) -> str | None:
        """None: committed. Otherwise the error for which PostgreSQL refuses this batch, and always will."""
        delay = RETRY_FIRST_S
        while True:
            try:
                async with self._database.single() as connection:
                    ours = await ledger.finish(connection, [entry.finished for entry in batch])
            except MemoryError:
                raise  # says nothing about the batch
            except Exception as error:
                if not is_outage(error):
                    return _name(error)
                log.warning("outcomes_wait", runs=len(batch), error=type(error).__name__, retry_in_s=delay)
            else:
                for entry in batch:
                    entry.answer(entry.finished.run_id in ours)
                return None
            await asyncio.sleep(delay)
            delay = min(RETRY_CAP_S, delay * 2)


def _name(error: Exception) -> str:
    """The driver's own name for it: SQLAlchemy wraps the wrapper."""
    orig = getattr(error, "orig", None)
    return type(getattr(orig, "__cause__", None) or orig or error).__name__
