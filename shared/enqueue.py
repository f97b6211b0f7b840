"""Enqueueing on demand: on its own (commit, then push), or inside the caller's transaction. The push is nobody's to wait for:
what a call returns is committed.

run = await enqueuer.enqueue(jobs.PING, jobs.PingArgs())

async with sessions.begin() as session:          # visible only if this commits
    session.add(refund)
    await enqueuer.enqueue(jobs.PROCESS_REFUND, jobs.RefundArgs(refund_id=refund.id), session=session)
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from shared.core.errors import BadInput
from shared.core.jobspec import JobArgs, JobSpec
from shared.db import ledger
from shared.db.engine import Database
from shared.failpoints import Point, failpoint
from shared.ports import Message, Transport

A = TypeVar("A", bound=JobArgs)
log = structlog.get_logger(__name__)

#: A push slower than this is the relay's to make (rule 35).
PUSH_TIMEOUT_S = 0.2
PUSHED_TOGETHER = 1000
_OF_KEYS = text("SELECT key, id FROM job_runs WHERE job = :job AND key = ANY (CAST(:keys AS text[]))")


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A run's id; `existing` where its key had been used before (rule 36)."""

    run_id: UUID
    existing: bool = False


class Enqueuer:
    """Commits runs to the ledger and wakes a worker. One per process; safe to share between tasks."""

    def __init__(self, database: Database, transport: Transport) -> None:
        self._database = database
        self._transport = transport
        self._unpushed: dict[str, list[Message]] = {}
        self._pushes: dict[str, asyncio.Task[None]] = {}

    async def enqueue(
        self,
        job: JobSpec[A],
        args: A,
        *,
        run_at: datetime | None = None,
        key: str | None = None,
        schedule_id: str | None = None,
        session: AsyncSession | None = None,
    ) -> Enqueued:
        """Enqueues one run, due at `run_at` (now, if not given). With `session` it is part of that transaction.

        `key` defaults to what the job derives from its arguments; one that exists returns the run that has it, in
        whatever state. Raises BadInput for a `run_at` without time zone; what the database raises is asyncpg's, or
        SQLAlchemy's where there is a session (`shared.db.errors` tells outages and conflicts of both).
        """
        many = await self.enqueue_many(
            job, [args], run_ats=[run_at], keys=[key], schedule_id=schedule_id, session=session
        )
        return many[0]

    async def enqueue_many(
        self,
        job: JobSpec[A],
        args: Sequence[A],
        *,
        run_ats: Sequence[datetime | None] | None = None,
        keys: Sequence[str | None] | None = None,
        schedule_id: str | None = None,
        session: AsyncSession | None = None,
    ) -> list[Enqueued]:
        """Enqueues runs of one job in one statement; answers in the order of `args`."""
        if not args:
            return []
        if any(at is not None and at.tzinfo is None for at in run_ats or ()):
            raise BadInput("run_at: needs a time zone, as in 2030-01-31T08:00:00Z")
        given = keys if keys is not None else [None] * len(args)
        names = [job.key(a) if key is None and job.key else key for key, a in zip(given, args, strict=True)]
        encoded = [job.encode(a) for a in args]
        if session is not None:
            rows = await ledger.enqueue(
                session, job, encoded, keys=names, run_ats=run_ats, schedule_id=schedule_id
            )
            answers = await _existing(session, job, rows)
            self._push_after_commit(session, job, rows)
            return answers
        # Keys of a bulk are looked up after the insert: both, or nothing. One statement commits by itself.
        alone = len(args) == 1 or not any(names)
        async with self._database.single() if alone else self._database.begin() as connection:
            rows = await ledger.enqueue(
                connection, job, encoded, keys=names, run_ats=run_ats, schedule_id=schedule_id
            )
            answers = await _existing(connection, job, rows)
        self._push(job, rows)
        return answers

    async def push_now(self, queue: str, messages: Sequence[Message]) -> bool:
        """Wakes a worker for runs already committed. False: it failed, which is no error: the relay has them (rule 35)."""
        if not messages:
            return True
        try:
            async with asyncio.timeout(PUSH_TIMEOUT_S):
                await self._transport.push(queue, messages)
        except Exception as error:
            log.info("push_left_to_relay", queue=queue, runs=len(messages), error=type(error).__name__)
            return False
        return True

    async def close(self) -> None:
        """Waits for pushes that are under way."""
        await asyncio.sleep(0)  # those of a transaction that has just been committed begin
        while self._pushes:
            await asyncio.wait(self._pushes.values())

    def _push(self, job: JobSpec[A], rows: Sequence[ledger.Inserted]) -> None:
        """Wakes workers for runs that are committed, at once and beside the caller, who need not wait for Redis. What is
        enqueued while a queue's push is under way goes with its next one."""
        failpoint(Point.ENQUEUE_COMMITTED)
        queue = job.queue.value
        messages = [Message(row.id, 1, job.priority) for row in rows if row.id is not None and row.due]
        self._unpushed.setdefault(queue, []).extend(messages)
        if queue not in self._pushes:
            self._begin(queue)

    def _begin(self, queue: str) -> None:
        self._pushes[queue] = task = asyncio.get_running_loop().create_task(self._push_all(queue))
        task.add_done_callback(partial(self._ended, queue))

    async def _push_all(self, queue: str) -> None:
        while waiting := self._unpushed.pop(queue, None):
            # Each push has its 0.2 s, however much was enqueued meanwhile.
            messages, self._unpushed[queue] = waiting[:PUSHED_TOGETHER], waiting[PUSHED_TOGETHER:]
            if not await self.push_now(queue, messages):
                del self._unpushed[queue]  # Redis is slow or away: the relay has those too
                return

    def _ended(self, queue: str, task: asyncio.Task[None]) -> None:
        del self._pushes[queue]
        if task.cancelled():
            self._unpushed.pop(queue, None)
        elif self._unpushed.get(queue):
            self._begin(queue)

    def _push_after_commit(
        self, session: AsyncSession, job: JobSpec[A], rows: Sequence[ledger.Inserted]
    ) -> None:
        committing = session.sync_session
        if self not in committing.info:
            committing.info[self] = []
            event.listen(committing, "after_commit", self._committed)
        committing.info[self].append((job, rows))

    def _committed(self, session: Session) -> None:
        # If a transaction is rolled back and the session lives on, a later commit pushes ids that do not exist: the
        # claim refuses them, at the price of one message.
        if session.in_nested_transaction():
            return  # a savepoint's release: nobody else can see the runs yet
        waiting, session.info[self] = session.info[self], []
        for job, rows in waiting:
            # What it may raise is no business of the transaction, which is committed.
            asyncio.get_running_loop().call_soon(self._push, job, rows)


async def _existing(
    db: ledger.AnyExecutor, job: JobSpec[A], rows: Sequence[ledger.Inserted]
) -> list[Enqueued]:
    """Fills in the runs whose keys existed. One enqueued under the same key a moment ago by somebody else is visible
    now: the conflict made this transaction wait for it."""
    missing = [row.key for row in rows if row.id is None]
    found: dict[str, UUID] = {}
    if missing:
        found = {row.key: row.id for row in await db.execute(_OF_KEYS, {"job": job.name, "keys": missing})}
    return [
        Enqueued(row.id) if row.id is not None else Enqueued(found[str(row.key)], existing=True)
        for row in rows
    ]
