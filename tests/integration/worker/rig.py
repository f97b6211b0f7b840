"""A worker in this process: the real components on real servers, with the test's handlers under existing job names."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import Row

from shared import jobs
from shared.core.jobspec import JobArgs, JobSpec, Queue
from shared.db import ledger
from shared.db.clock import DatabaseClock
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.health import Readiness
from shared.lifecycle import Component, supervise
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.wait import wait_until_async
from worker_svc.arq_worker import QueueLoop, QueueWorker, arq_pool
from worker_svc.attempts import Attempts
from worker_svc.context import Handler, Services
from worker_svc.drain import Drain
from worker_svc.funnel import Funnel
from worker_svc.handlers.ping import ping
from worker_svc.heartbeat import Heartbeat
from worker_svc.intake import Intake
from worker_svc.prober import Prober
from worker_svc.recorder import Recorder

Probe = Callable[[], Awaitable[None]]


@dataclass
class Rig:
    """One test's database and Redis, and the workers it starts there."""

    database_url: str
    redis_url: str
    database: Database
    redis: Redis
    transport: RedisTransport = field(init=False)
    enqueuer: Enqueuer = field(init=False)

    def __post_init__(self) -> None:
        self.transport = RedisTransport(self.redis)
        self.enqueuer = Enqueuer(self.database, self.transport)

    async def enqueue(self, job: JobSpec[Any] = jobs.PING, args: JobArgs | None = None) -> UUID:
        run_id = (await self.enqueuer.enqueue(job, args or job.args())).run_id
        await self.enqueuer.close()  # what the test does next finds its message
        return run_id

    async def enqueue_raw(
        self, job: str, args: str = "{}", queue: str = "maintenance", **columns: Any
    ) -> UUID:
        """A row as somebody else may have written it, and its message."""
        names = ", ".join(["job", "queue", "args", *columns])
        values = ", ".join([":job", ":queue", "CAST(:args AS jsonb)", *(f":{name}" for name in columns)])
        sql = f"INSERT INTO job_runs ({names}) VALUES ({values}) RETURNING id"
        run_id: UUID = (await self.database.rows(sql, job=job, queue=queue, args=args, **columns))[0].id
        await self.push(run_id, 1, queue)
        return run_id

    async def push(self, run_id: UUID, attempt: int, queue: str = "maintenance") -> None:
        await self.transport.push(queue, [ledger.Message(run_id, attempt)])

    async def run(self, run_id: UUID) -> Row[Any]:
        return (await self.database.rows("SELECT * FROM job_runs WHERE id = :id", id=run_id))[0]

    async def in_state(self, run_id: UUID, *states: str, within_s: float = 10.0) -> Row[Any]:
        """The run's row, once it is in one of the states."""

        async def there() -> Row[Any] | None:
            row = await self.run(run_id)
            return row if row.state in states else None

        return cast(Row[Any], await wait_until_async(there, within_s, f"{run_id} {' or '.join(states)}"))

    async def back(self, run_id: UUID, attempt: int = 1, within_s: float = 10.0) -> Row[Any]:
        """The run's row, once that attempt has ended and the run waits again."""

        async def there() -> Row[Any] | None:
            row = await self.run(run_id)
            return row if row.state == "pending" and row.attempt >= attempt else None

        return cast(Row[Any], await wait_until_async(there, within_s, f"{run_id} pending again"))

    async def due_now(self, run_id: UUID) -> None:
        """What the relay does, without waiting for the backoff."""
        sql = (
            "UPDATE job_runs SET run_at = now() WHERE id = :id AND state = 'pending' RETURNING attempt, queue"
        )
        row = (await self.database.rows(sql, id=run_id))[0]
        await self.push(run_id, row.attempt + 1, row.queue)

    async def sweep(self, run_id: UUID) -> None:
        """What the sweeper does with a run whose lease ran out, without waiting for that; its message included."""
        sql = (
            "UPDATE job_runs SET state = 'pending', lease_until = NULL, worker = NULL, losses = losses + 1,"
            " run_at = now() WHERE id = :id AND state = 'running' RETURNING attempt, queue"
        )
        row = (await self.database.rows(sql, id=run_id))[0]
        await self.push(run_id, row.attempt + 1, row.queue)

    async def messages(self, queue: str = "maintenance") -> int:
        """How many messages there are, those taken and not acknowledged included."""
        waiting = int(await self.redis.zcard(f"cuebx:queue:{queue}"))
        return waiting + int(await self.redis.zcard(f"cuebx:queue:{queue}:taken"))

    @asynccontextmanager
    async def worker(
        self, handlers: Mapping[str, Handler] | None = None, **options: Any
    ) -> AsyncIterator["Worker"]:
        """A running worker; stopped at the end if the test has not done it."""
        worker = Worker(self, handlers or {}, **options)
        try:
            await worker.started()
            yield worker
        finally:
            await worker.stop()


class Worker:
    """The components of a worker process, without its process."""

    def __init__(
        self,
        rig: Rig,
        handlers: Mapping[str, Handler],
        *,
        name: str = "tested",
        queues: tuple[Queue, ...] = (Queue.MAINTENANCE,),
        lease_s: float = 15.0,
        grace_s: float = 5.0,
        max_jobs: int = 50,
        probes: Mapping[Queue, Probe] | None = None,
        components: tuple[Component, ...] = (),
    ) -> None:
        self.readiness = Readiness("database", "redis")
        self.attempts = Attempts()
        self.database = Database(rig.database_url, application=name, bound_s=lease_s * 0.8, pool_size=8)
        self._redis = connect(rig.redis_url, client_name=name)
        enqueuer = Enqueuer(self.database, RedisTransport(self._redis))
        missing = cast(Any, None)  # no handler of these tests talks to a provider
        services = Services(
            self.database,
            enqueuer,
            missing,
            missing,
            missing,
            missing,
            DatabaseClock(self.database),
            sender=("billing@example.com", "CueBX"),
            stages="0d",
            stripe_rate_per_s=25,
            stripe_total_rate_per_s=1000,
            retention=timedelta(days=90),
        )
        self.relay_woken = 0
        self.recorder = Recorder(self.database)
        self.funnel = Funnel(services, {"ping": ping, **handlers}, self.recorder, self.attempts, self._wake)
        beats = Database(rig.database_url, application=f"{name} beats", bound_s=lease_s / 3, pool_size=1)
        self.heartbeat = Heartbeat(beats, self.attempts, self.readiness, lease_s=lease_s)
        self.prober = Prober(self.database, probes or {}, self._wake)
        loops = []
        for queue in queues:
            pool = arq_pool(rig.redis_url, client_name=f"{name}-{queue.value}")
            intake = Intake(queue.value, RedisTransport(pool), self.database, worker=name, lease_s=lease_s)
            worker = QueueWorker(intake, self.funnel, pool, max_jobs=max_jobs)
            loops.append(QueueLoop(worker, queue.value, self.readiness, pool))
        self._stop = asyncio.Event()
        self._supervisor = asyncio.create_task(
            supervise(
                [
                    self.recorder,
                    self.heartbeat,
                    self.prober,
                    *components,
                    Drain(self.attempts, grace_s=grace_s),
                    *loops,
                ],
                self._stop,
            )
        )

    async def started(self) -> None:
        await wait_until_async(lambda: not self.readiness.problems(), what="a worker that is ready")

    async def stop(self) -> None:
        """As SIGTERM does."""
        self._stop.set()
        await self._supervisor
        await self._redis.aclose()
        await self.database.close()

    async def _wake(self) -> None:
        self.relay_woken += 1
