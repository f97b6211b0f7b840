"""From messages to claimed runs: take a batch from Redis, claim it in the ledger with one statement, forget the messages."""

import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from shared.db import ledger
from shared.db.engine import Database
from shared.db.errors import is_conflict, is_outage
from shared.db.ledger import ClaimedRun
from shared.failpoints import Point, failpoint
from shared.ports import Message, Transport
from worker_svc import metrics
from worker_svc.attempts import Attempt
from worker_svc.lease import Lease

log = structlog.get_logger(__name__)

MAX_BATCH = 200
#: A run whose schedule runs one at a time comes back when the other one may have ended.
BUSY_DELAY_S = 1.0
#: A run that PostgreSQL refuses to claim at all comes back when somebody may have looked.
REFUSED_DELAY_S = 60.0


class DatabaseAway(Exception):
    """PostgreSQL did not answer for a claim. The messages are back in Redis (rule 8)."""


class Intake:
    """Claims for one queue."""

    def __init__(
        self, queue: str, transport: Transport, database: Database, *, worker: str, lease_s: float
    ) -> None:
        self.queue = queue
        self._transport = transport
        self._database = database
        self._worker = worker
        self._lease_s = lease_s
        self._pickup = metrics.PICKUP.labels(queue)

    async def check(self) -> None:
        """Raises DatabaseAway."""
        try:
            await self._database.ping()
        except Exception as error:
            if is_outage(error):
                raise DatabaseAway(type(error).__name__) from error
            raise

    async def take(self, most: int) -> list[Message]:
        """Up to `most` messages, and MAX_BATCH: fewer mean that there are no more. Claim them."""
        return await self._transport.take(self.queue, min(most, MAX_BATCH))

    async def wait_and_take(self, most: int, timeout_s: float) -> list[Message]:
        """The same, once something was pushed or the time is over."""
        return await self._transport.wait_and_take(self.queue, min(most, MAX_BATCH), timeout_s)

    async def claim(self, messages: Sequence[Message]) -> list[Attempt]:
        """Those that the ledger gives us. Start them, then acknowledge the messages, all of them.

        Raises DatabaseAway, or redis's errors: the messages are back in the queue then.
        """
        # The lease is trusted from before the claim was sent: the answer may have taken its time.
        asked_at = time.monotonic()
        try:
            failpoint(Point.CLAIM_TAKEN)
            runs = await self._claim(messages)
        except Exception as error:
            await self._transport.give_back(self.queue, messages)
            if is_outage(error):
                raise DatabaseAway(type(error).__name__) from error
            raise
        failpoint(Point.CLAIM_COMMITTED)
        self._pickup.observe_all(
            [
                (run.started_at - run.enqueued_at).total_seconds()
                for run in runs
                if run.attempt == 1 and run.schedule_id is None
            ]
        )
        return [Attempt(run, Lease(asked_at, self._lease_s)) for run in runs]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Forgets the messages. Those that this does not reach come back as stale, and the claim refuses them."""
        await self._transport.acknowledge(self.queue, messages)

    async def _claim(self, messages: Sequence[Message]) -> list[ClaimedRun]:
        try:
            return await self._claim_batch(messages)
        except Exception as error:
            if is_outage(error):
                raise
            # Two runs of a schedule that runs one at a time met in this batch (rule 19): each by itself, then.
            log.warning("claim_one_by_one", queue=self.queue, runs=len(messages), error=type(error).__name__)
        claimed: list[ClaimedRun] = []
        for number, message in enumerate(messages):
            try:
                claimed += await self._claim_alone(message)
            except Exception as error:
                if not claimed or not is_outage(error):
                    raise
                # What is claimed runs; the rest, this one included, waits for PostgreSQL.
                with suppress(Exception):
                    await self._transport.give_back(self.queue, messages[number:])
                break
        return claimed

    async def _claim_alone(self, message: Message) -> list[ClaimedRun]:
        try:
            return await self._claim_batch([message])
        except Exception as error:
            if is_outage(error):
                raise
            if is_conflict(error):
                await self._put_off(message, BUSY_DELAY_S)
            else:
                log.exception("claim_refused", run_id=str(message.run_id), attempt=message.attempt)
                await self._put_off(message, REFUSED_DELAY_S)
        return []

    async def _claim_batch(self, messages: Sequence[Message]) -> list[ClaimedRun]:
        async with self._database.single() as connection:
            return await ledger.claim(connection, messages, worker=self._worker, lease_s=self._lease_s)

    async def _put_off(self, message: Message, delay_s: float) -> None:
        async with self._database.begin() as connection:
            await ledger.unqueue(connection, [message], delay_s=delay_s)
