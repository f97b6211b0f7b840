"""From messages to claimed runs: take a batch from Redis, claim it in the ledger with one statement, forget the messages."""

import time
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from shared.db import ledger
from shared.db.engine import Database, is_outage
from shared.db.ledger import ClaimedRun
from shared.ports import Message, Transport
from worker_svc import metrics
from worker_svc.attempts import Attempt
from worker_svc.lease import Lease

log = structlog.get_logger(__name__)

MAX_BATCH = 200


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

    async def claim(self, most: int) -> tuple[list[Attempt], bool]:
        """Up to `most` attempts, and whether there may be more. Raises DatabaseAway, or redis's errors."""
        asked = min(most, MAX_BATCH)
        messages = await self._transport.take(self.queue, asked)
        if not messages:
            return [], False
        # The lease is trusted from before the claim was sent: the answer may have taken its time.
        asked_at = time.monotonic()
        try:
            runs = await self._claim(messages)
        except Exception as error:
            await self._transport.give_back(self.queue, messages)
            if is_outage(error):
                raise DatabaseAway(type(error).__name__) from error
            raise
        await self._transport.acknowledge(self.queue, messages)
        for run in runs:
            if run.attempt == 1 and run.schedule_id is None:
                metrics.PICKUP.labels(self.queue).observe((run.started_at - run.enqueued_at).total_seconds())
        return [Attempt(run, Lease(asked_at, self._lease_s)) for run in runs], len(messages) == asked

    async def wait(self, timeout_s: float) -> None:
        """Until something was pushed, or the time is over."""
        await self._transport.wait([self.queue], timeout_s)

    async def _claim(self, messages: Sequence[Message]) -> list[ClaimedRun]:
        try:
            return await self._claim_batch(messages)
        except IntegrityError:
            # Two runs of a schedule that runs one at a time met in this batch (rule 19): each by itself, then.
            log.warning("claim_one_by_one", queue=self.queue, runs=len(messages))
        claimed: list[ClaimedRun] = []
        for message in messages:
            try:
                claimed += await self._claim_batch([message])
            except IntegrityError:
                await self._put_off(message)
        return claimed

    async def _claim_batch(self, messages: Sequence[Message]) -> list[ClaimedRun]:
        async with self._database.begin() as connection:
            return await ledger.claim(connection, messages, worker=self._worker, lease_s=self._lease_s)

    async def _put_off(self, message: Message) -> None:
        async with self._database.begin() as connection:
            await ledger.unqueue(connection, [message], delay_s=1.0)
