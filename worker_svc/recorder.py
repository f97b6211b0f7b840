"""Records outcomes, as many at a time as have come together while the last batch was being written."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from shared.core.decide import clean_text
from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db import ledger
from shared.db.engine import Database, is_outage
from shared.db.ledger import Finished
from shared.lifecycle import Component
from worker_svc.attempts import Attempt

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.1
RETRY_CAP_S = 2.0
MAX_BATCH = 500


class _Entry:
    def __init__(self, attempt: Attempt, decision: Decision) -> None:
        self.attempt = attempt
        self.finished = Finished(attempt.run.id, attempt.run.attempt, decision)
        self.recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Recorder(Component):
    """A batch never waits for company: the first entry is written at once, those that come meanwhile are the next batch."""

    name = "recorder"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Entry] = []
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def record(self, attempt: Attempt, decision: Decision) -> bool:
        """Whether the run was still this attempt's (rule 6). Returns once the outcome is committed, or never will be."""
        entry = _Entry(attempt, decision)
        self._waiting.append(entry)
        self._idle.clear()
        self._news.set()
        return await entry.recorded

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._write(batch)
            self._idle.set()

    async def stop(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._idle.wait()

    async def _write(self, batch: list[_Entry]) -> None:
        delay = RETRY_FIRST_S
        while batch:
            try:
                await self._commit(batch)
                return
            except Exception as error:
                if not is_outage(error):
                    return await self._one_by_one(batch)
                log.warning("outcomes_wait", runs=len(batch), error=type(error).__name__, retry_in_s=delay)
            await asyncio.sleep(delay)
            delay = min(RETRY_CAP_S, delay * 2)
            batch = [entry for entry in batch if self._still_ours(entry)]

    async def _commit(self, batch: Sequence[_Entry]) -> None:
        async with self._database.begin() as connection:
            ours = await ledger.finish(connection, [entry.finished for entry in batch])
        for entry in batch:
            entry.recorded.set_result(entry.finished.run_id in ours)

    def _still_ours(self, entry: _Entry) -> bool:
        """An outcome whose lease has run out is dropped: the sweeper gives the run to somebody else."""
        if entry.attempt.lease.remaining_s > 0:
            return True
        log.warning("outcome_abandoned", run_id=str(entry.finished.run_id), attempt=entry.finished.attempt)
        entry.recorded.set_result(False)
        return False

    async def _one_by_one(self, batch: Sequence[_Entry]) -> None:
        """One bad row never discards its neighbours' outcomes (rule 9): the offender is parked as dead."""
        for entry in batch:
            try:
                await self._commit([entry])
            except Exception as error:
                if is_outage(error):
                    await self._write([entry])
                    continue
                log.error("outcome_unstorable", run_id=str(entry.finished.run_id), error=type(error).__name__)
                text = clean_text(
                    f"the outcome ({entry.finished.decision.state.value}) could not be stored: {type(error).__name__}"
                )
                entry.finished = Finished(
                    entry.finished.run_id, entry.finished.attempt, Decision(RunState.DEAD, error=text)
                )
                try:
                    await self._commit([entry])
                except Exception:
                    log.exception("outcome_lost", run_id=str(entry.finished.run_id))
                    entry.recorded.set_result(False)
