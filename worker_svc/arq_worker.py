"""arq, as the transport's worker: its main loop. Nothing else of it.

arq's own queue protocol (payloads, in-progress keys, results, retries) is replaced in three methods, because it forgets:
the ledger keeps all of that. Nothing is written to Redis under arq's names.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

from shared.core.backoff import RetryPolicy, backoff_s
from shared.health import Readiness, describe
from shared.lifecycle import Component, end
from shared.ports import Message
from shared.queue import keys
from shared.queue.connection import redis_options
from worker_svc import metrics
from worker_svc.funnel import Funnel
from worker_svc.intake import MAX_BATCH, DatabaseAway, Intake

log = structlog.get_logger(__name__)

#: How long an idle worker waits for a push before it looks by itself.
BACKSTOP_S = 2.0
#: And one that has runs: Redis wakes whoever has waited longest, which shall be an idle one.
BUSY_WAIT_S = 0.25
#: How long a stopping worker waits for the answer to a claim.
SETTLE_S = 3.0
#: Handlers that have ended need no slot while their outcomes are written: the next ones are claimed meanwhile. So many
#: times its slots a queue may have open, those included, before it waits for PostgreSQL.
UNRECORDED = 4
#: Claims of a queue that may be under way, where there are slots for more than one batch: the runs of one are worked on
#: while the answer to the other is awaited. Batches are not made smaller for that: a small one costs as much.
CLAIMS = 2
_OUTAGE = RetryPolicy(base_s=0.1, cap_s=2.0)


def arq_pool(url: str, *, client_name: str) -> ArqRedis:
    """A pool of arq's type, with our time-outs: one for each arq worker, since it closes its own."""
    pool: ArqRedis = ArqRedis.from_url(url, client_name=client_name, **redis_options(url))
    return pool


async def _unused(ctx: dict[Any, Any]) -> None:
    """arq wants a function; runs go through the funnel."""


class QueueWorker(Worker):
    """One arq worker for one queue. `run_job` takes attempts; claims come through the intake."""

    def __init__(self, intake: Intake, funnel: Funnel, pool: ArqRedis, *, max_jobs: int) -> None:
        super().__init__(
            [func(_unused, name="run")],
            queue_name=keys.queue(intake.queue),
            redis_pool=pool,
            handle_signals=False,
            max_jobs=max_jobs,
            poll_delay=0,
            keep_result=0,
            log_results=False,
        )
        self._intake = intake
        self._funnel = funnel
        self._working = 0
        self._open = 0
        self._changed = asyncio.Event()
        #: Messages that are being claimed, and the claims.
        self._asked = self._unanswered = 0
        #: Whether there may be more in Redis than what was taken last.
        self._look = True
        self._taking: asyncio.Task[None] | None = None
        self._claims: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        metrics.ACTIVE.labels(intake.queue).set_function(lambda: self._open)

    async def _poll_iteration(self) -> None:
        if (most := self._room()) <= 0:
            self._changed.clear()
            await self._changed.wait()
        elif self._look:
            # Shielded: what a stopping worker has taken it claims, and what it has claimed it runs.
            self._taking = asyncio.create_task(self._take(most))
            await asyncio.shield(self._taking)
        elif self._claims:
            await asyncio.wait(self._claims)
        else:
            self._claim(most, await self._intake.wait_and_take(most, self._patience_s()))
        self._raise_failure()

    def _room(self) -> int:
        """For how many runs a claim can be begun now."""
        if self._unanswered >= CLAIMS:
            return 0
        return min(self.max_jobs - self._working, self.max_jobs * UNRECORDED - self._open) - self._asked

    def _patience_s(self) -> float:
        return BUSY_WAIT_S if self._working else BACKSTOP_S

    async def _take(self, most: int) -> None:
        self._claim(most, await self._intake.take(most))

    def _claim(self, most: int, messages: Sequence[Message]) -> None:
        """Begins the claim of what was taken when there was room for `most`."""
        if messages:
            self._asked += len(messages)
            self._unanswered += 1
            claim = asyncio.create_task(self._claim_and_start(messages))
            self._claims.add(claim)
            claim.add_done_callback(self._claimed)
        self._look = len(messages) >= min(most, MAX_BATCH)

    async def _claim_and_start(self, messages: Sequence[Message]) -> None:
        try:
            attempts = await self._intake.claim(messages)
        finally:
            self._asked -= len(messages)
            self._unanswered -= 1
        for attempt in attempts:
            self._working += 1
            self._open += 1
            self._funnel.start(attempt, self._handled, self._ended)
        # After the start: what the ledger gave us runs, whether Redis hears of it or not.
        await self._intake.acknowledge(messages)

    def _claimed(self, claim: "asyncio.Task[None]") -> None:
        self._claims.discard(claim)
        if not claim.cancelled():
            self._failure = claim.exception() or self._failure
        self._changed.set()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _handled(self) -> None:
        self._working -= 1
        self._changed.set()

    def _ended(self) -> None:
        self._open -= 1
        self._changed.set()

    async def check(self) -> None:
        """Raises redis's errors, or DatabaseAway: nothing is taken from Redis before both answer (rule 8)."""
        self._failure, self._look = None, True  # of claims that began before
        await self.pool.ping()
        await self._intake.check()

    async def settle(self) -> None:
        """Waits for claims that are under way; their errors were the main loop's to see."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while under_way := self._under_way():
                    await asyncio.wait(under_way)
        for task in self._under_way():
            task.cancel()

    def _under_way(self) -> "set[asyncio.Task[Any]]":
        taking = {self._taking} if self._taking is not None and not self._taking.done() else set()
        return taking | self._claims

    async def run_job(self, job_id: str, score: int) -> None:
        raise AssertionError("runs are claimed from the ledger, never from arq's queue")

    async def heart_beat(self) -> None:
        """arq's health key is one per queue and deleted by whoever stops first: processes have keys of their own."""


class QueueLoop(Component):
    """Keeps one queue's worker going, outages of Redis and PostgreSQL included. `stop` ends claiming, nothing else."""

    def __init__(self, worker: QueueWorker, queue: str, readiness: Readiness, pool: ArqRedis) -> None:
        self.name = f"queue:{queue}"
        self._worker = worker
        self._queue = queue
        self._readiness = readiness
        self._pool = pool
        self._main: asyncio.Task[None] | None = None
        self._stopped = False

    async def run(self) -> None:
        failures = 0
        while not self._stopped:
            began = asyncio.get_running_loop().time()
            self._main = asyncio.create_task(self._until_it_fails(), name=self.name)
            try:
                await self._main
            except asyncio.CancelledError:
                self._main.cancel()
                if self._stopped:
                    return
                raise
            failures = 1 if asyncio.get_running_loop().time() - began > 5 else failures + 1
            await asyncio.sleep(backoff_s(_OUTAGE, failures, lambda: 0.5))

    async def stop(self) -> None:
        """No more claims. Running attempts go on: the drain deals with them."""
        self._stopped = True
        if self._main is not None:
            await end(self._main, within_s=SETTLE_S)
        await self._worker.settle()
        await self._pool.aclose(close_connection_pool=True)

    async def _until_it_fails(self) -> None:
        try:
            await self._worker.check()
            self._readiness.ok("redis")
            await self._worker.main()
        except DatabaseAway as error:
            log.warning("claims_wait_for_database", queue=self._queue, error=str(error))
        except (RedisError, OSError, TimeoutError) as error:
            self._readiness.failed("redis", describe(error))
