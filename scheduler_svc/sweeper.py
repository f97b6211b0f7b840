"""Puts back what was lost: runs whose lease ran out, messages nobody answered for, queues that Redis forgot."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler_svc import metrics
from scheduler_svc.outages import Outages
from scheduler_svc.redis_memory import RedisMemory
from shared.core.backoff import RetryPolicy
from shared.core.decide import decide_lost_lease
from shared.core.jobspec import Queue
from shared.core.outcomes import Decision
from shared.db import ledger
from shared.db.engine import Database
from shared.failpoints import Point, failpoint
from shared.jobs import JOBS
from shared.lifecycle import Component
from shared.ports import Message, Transport

log = structlog.get_logger(__name__)

PAGE = 500
#: A round of everything; lost leases are also looked for whenever somebody saw one.
EVERY_S = 3.0
#: A message that was taken so long ago has a worker that died before its claim, or a slow one: the claim tells.
TAKEN_S = 2.0
_FIRST = UUID(int=0)
_SERVER_IS_YOUNG = text("SELECT now() - pg_postmaster_start_time() < make_interval(secs => :lease_s)")


class Sweeper(Component):
    name = "sweeper"

    def __init__(
        self,
        database: Database,
        transport: Transport,
        memory: RedisMemory,
        outages: Outages,
        *,
        lease_s: float,
        put_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._transport = transport
        self._memory = memory
        self._outages = outages
        self._lease_s = lease_s
        self._put_back = put_back
        self._every_s = min(EVERY_S, max(0.2, lease_s / 5))
        self._checked = _FIRST
        self._lost = asyncio.Event()

    def kick(self) -> None:
        """Somebody saw a lease that ran out."""
        self._lost.set()

    async def run(self) -> None:
        while True:
            await self.sweep()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._lost.wait()
            self._lost.clear()

    async def sweep(self) -> None:
        """One round of everything, leases first: they need no Redis."""
        page = await self._judge_leases()
        if await self._memory.lost():
            await self._push_all_again()
        await self._memory.note()
        await self._return_stale()
        await self._check(page)

    async def _judge_leases(self) -> list[ledger.QueuedMessage]:
        """Puts lost runs back and has them relayed at once; also the next page of queued runs."""
        page, lost = await self._look()
        if lost:
            self._put_back()
        while lost >= PAGE:
            _, lost = await self._look()
            self._put_back()
        return page

    async def _return_stale(self) -> None:
        async with self._outages.watch_redis():
            for queue in Queue:
                returned = await self._transport.return_stale(queue.value, min(self._lease_s, TAKEN_S))
                metrics.SWEPT.labels("message").inc(returned)

    async def _look(self) -> tuple[list[ledger.QueuedMessage], int]:
        """The next page of queued runs, and how many lost leases were decided about, in one transaction."""
        async with self._outages.watch_postgres(), self._database.begin() as connection:
            lost = await self._decide_lost(connection)
            page = await ledger.queued_page(
                connection, after=self._checked, most=PAGE, older_than_s=self._lease_s
            )
        for run, decision in lost:
            log.warning(
                "lease_lost",
                run_id=str(run.id),
                job=run.job,
                attempt=run.attempt,
                losses=run.losses,
                state=decision.state.value,
                delay_s=decision.delay_s,
            )
        metrics.SWEPT.labels("lease").inc(len(lost))
        return page, len(lost)

    async def _decide_lost(self, connection: AsyncConnection) -> list[tuple[ledger.LostRun, Decision]]:
        """No lease is judged while its worker may have been cut off from PostgreSQL with us (rule 12)."""
        if time.monotonic() - self._outages.postgres_failed_at < self._lease_s:
            return []
        young = await connection.scalar(_SERVER_IS_YOUNG, {"lease_s": self._lease_s})
        if young:
            return []
        lost = await ledger.pick_lost(connection, most=PAGE)
        decided = []
        for run in lost:
            job = JOBS.get(run.job)
            policy = job.retry if job is not None else RetryPolicy()
            decision = decide_lost_lease(run.losses, run.attempt, run.max_attempts, policy, random.random)
            decided.append((run, decision))
        if decided:
            await ledger.finish(connection, [ledger.Finished(run.id, run.attempt, d) for run, d in decided])
            await ledger.note_losses(connection, [run.id for run, _ in decided])
            failpoint(Point.SWEEP_BEFORE_COMMIT)
        return decided

    async def _push_all_again(self) -> None:
        after, pushed = _FIRST, 0
        while page := await self._all_queued(after):
            for queue, messages in _by_queue(page).items():
                async with self._outages.watch_redis():
                    await self._transport.push(queue, messages)
            after, pushed = page[-1].message.run_id, pushed + len(page)
        metrics.SWEPT.labels("forgotten").inc(pushed)
        log.warning("redis_forgot", runs_pushed_again=pushed)

    async def _check(self, page: list[ledger.QueuedMessage]) -> None:
        """The slow rolling check: a run that says queued but has no message gets one (rule 14)."""
        self._checked = page[-1].message.run_id if len(page) == PAGE else _FIRST
        for queue, messages in _by_queue(page).items():
            async with self._outages.watch_redis():
                missing = await self._transport.missing(queue, messages)
                if missing:
                    await self._transport.push(queue, missing)
                    metrics.SWEPT.labels("missing").inc(len(missing))
                    log.warning("messages_missing", queue=queue, runs_pushed_again=len(missing))

    async def _all_queued(self, after: UUID) -> list[ledger.QueuedMessage]:
        async with self._outages.watch_postgres(), self._database.begin() as connection:
            return await ledger.queued_page(connection, after=after, most=PAGE)


def _by_queue(page: list[ledger.QueuedMessage]) -> dict[str, list[Message]]:
    queues: dict[str, list[Message]] = {}
    for each in page:
        queues.setdefault(each.queue, []).append(each.message)
    return queues
