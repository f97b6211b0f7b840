"""Renews the leases of all runs of this process in one statement, on a connection of its own (rule 11)."""

import asyncio
import time
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.db import ledger
from shared.db.engine import Database
from shared.db.errors import is_outage
from shared.health import Readiness, describe
from shared.jobs import JOBS
from shared.lifecycle import Component
from worker_svc.attempts import Attempt, Attempts, Stop

log = structlog.get_logger(__name__)

#: How often a worker without runs asks whether PostgreSQL is there; and, while it is not, how often any worker does.
IDLE_CHECK_S = 5.0
OUTAGE_CHECK_S = 0.5


class Heartbeat(Component):
    """Beats every third of a lease. What the answer calls lost is stopped and writes nothing more."""

    name = "heartbeat"

    def __init__(
        self, database: Database, attempts: Attempts, readiness: Readiness, *, lease_s: float
    ) -> None:
        self._database = database  # a pool of one
        self._attempts = attempts
        self._readiness = readiness
        self._lease_s = lease_s

    async def run(self) -> None:
        try:
            await self._beat_on()
        finally:
            # Here and not in `stop`: the last beat must have given its connection back.
            with suppress(OSError, SQLAlchemyError):
                await self._database.close()

    async def _beat_on(self) -> None:
        while True:
            pause = min(self._lease_s / 3, IDLE_CHECK_S)
            try:
                await self.beat()
                self._readiness.ok("database")
            except Exception as error:
                if not is_outage(error):
                    raise
                self._readiness.failed("database", describe(error))
                pause = min(pause, OUTAGE_CHECK_S)
            self._tell_expired()
            await asyncio.sleep(pause)

    async def beat(self) -> None:
        """One statement for all runs; a plain ping where there are none."""
        running = [(attempt.run.id, attempt.run.attempt) for attempt in self._attempts]
        if not running:
            return await self._database.ping()
        asked_at = time.monotonic()
        async with self._database.begin() as connection:
            beats = await ledger.heartbeat(connection, running, lease_s=self._lease_s)
        for beat in beats:
            attempt = self._attempts.find(beat.run_id, beat.attempt)
            if attempt is not None:
                self._apply(attempt, beat, asked_at)

    def _apply(self, attempt: Attempt, beat: ledger.Beat, asked_at: float) -> None:
        if beat.lost:
            # Either another attempt has it, or its own outcome was committed between the statement and now.
            log.info("run_lost", run_id=str(beat.run_id), attempt=beat.attempt)
            attempt.stop(Stop.LOST)
            return
        if beat.renewed:
            attempt.lease.renewed(asked_at)
        if beat.cancel_requested and not attempt.lease.cancel_requested.is_set():
            attempt.lease.cancel_requested.set()
            spec = JOBS.get(attempt.run.job)
            if spec is None or spec.cancellable:
                attempt.stop(Stop.CANCEL)

    def _tell_expired(self) -> None:
        """A lease that ran out unanswered allows no provider call. Whether the run is lost only the ledger can say: after
        an outage healthy workers renew before anybody judges them (rule 12)."""
        for attempt in self._attempts:
            if attempt.lease.remaining_s <= 0 and attempt.stopped is None:
                log.warning("lease_unconfirmed", run_id=str(attempt.run.id), attempt=attempt.run.attempt)
