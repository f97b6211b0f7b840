"""Wires a scheduler: on its own (`python -m scheduler_svc`), or standing for leader inside another process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy import Engine

from scheduler_svc.builtin import builtin_schedules
from scheduler_svc.election import Candidate
from scheduler_svc.leader_lock import LeaderLock
from scheduler_svc.notices import RELAY, SCHEDULES, NoticeListener
from scheduler_svc.outages import POSTGRES, REDIS, Outages
from scheduler_svc.presence import Presence
from scheduler_svc.reading import single_statements
from scheduler_svc.term import Resources
from shared.db.engine import Database, sync_engine
from shared.health import HealthServer, Readiness
from shared.lifecycle import Component, stop_on_signals, supervise
from shared.process import process_name
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.memory import MemoryWatch
from shared.queue.transport import RedisTransport
from shared.settings import SchedulerSettings

APPLICATION = "cuebx-scheduler"
#: A term ends in milliseconds, unless a server does not answer.
LEAVE_WITHIN_S = 10.0
#: The firing thread is busy in a storm of fires: the event loop gets its turn after this time, not after Python's 5 ms.
SWITCH_S = 0.0005


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler that is wired and not started."""

    candidate: Candidate
    components: Sequence[Component]
    engines: Sequence[Engine]
    database: Database
    redis: Redis

    async def close(self) -> None:
        await self.redis.aclose()
        await self.database.close()
        for engine in self.engines:
            await asyncio.to_thread(engine.dispose)


def transaction_bound_s(leader_ttl_s: float) -> float:
    """How long a transaction of a leader may last: less than the lock (rule 15)."""
    return leader_ttl_s * 0.75


def build(settings: SchedulerSettings, readiness: Readiness) -> Scheduler:
    """Connects nothing yet. Raises ConfigError."""
    database_url = settings.database_url.get_secret_value()
    redis_url = settings.redis_url.get_secret_value()
    ttl_s, holder = settings.leader_ttl_s, process_name()
    bound_s = transaction_bound_s(ttl_s)
    definitions = builtin_schedules(settings)
    engine, reads = (
        sync_engine(
            database_url,
            application=APPLICATION,
            bound_s=bound_s,
            pool_size=size,
            pre_ping=False,
            by_index=True,
            planned_once=("fire", "fire_due"),
        )
        for size in (3, 1)
    )
    database = Database(database_url, application=APPLICATION, bound_s=bound_s, pre_ping=False)
    redis = connect(redis_url, client_name=APPLICATION)
    resources = Resources(
        engine=engine,
        database=database,
        redis=redis,
        transport=RedisTransport(redis),
        outages=Outages(readiness),
        definitions=definitions,
        leader_ttl_s=ttl_s,
        lease_s=settings.run_lease_s,
        bound_s=bound_s,
        reads=single_statements(reads),
    )
    candidate = Candidate(resources, LeaderLock(redis_url, ttl_s), holder)
    listener = NoticeListener(
        redis,
        {
            (keys.LEADER_CHANNEL, "released"): candidate.leader_left,
            (keys.NOTICES, SCHEDULES): candidate.schedules_changed,
            (keys.NOTICES, RELAY): candidate.relay_wanted,
        },
    )
    return Scheduler(
        candidate,
        [listener, Presence(redis, candidate, holder), MemoryWatch(redis, readiness), candidate],
        [engine, reads],
        database,
        redis,
    )


async def main(settings: SchedulerSettings) -> None:
    """The scheduler process, until SIGINT or SIGTERM. Raises ConfigError, SchemaBehind among them."""
    sys.setswitchinterval(SWITCH_S)
    readiness = Readiness(POSTGRES, REDIS)
    stop = asyncio.Event()
    stop_on_signals(stop, leave_within_s=LEAVE_WITHIN_S)
    scheduler = build(settings, readiness)
    health = HealthServer(readiness, settings.metrics_port, settings.metrics_host)
    try:
        await supervise([health, *scheduler.components, _SchemaGuard(scheduler.candidate, stop)], stop)
    finally:
        await scheduler.close()
    if scheduler.candidate.schema_behind is not None:
        raise scheduler.candidate.schema_behind


@asynccontextmanager
async def embedded_scheduler(
    settings: SchedulerSettings, readiness: Readiness | None = None
) -> AsyncIterator[Candidate]:
    """Stands for leader inside another process, which has checked the schema and looks after signals and health.

    Leaving the context hands leadership over.
    """
    stop = asyncio.Event()
    scheduler = build(settings, readiness or Readiness(POSTGRES, REDIS))
    running = asyncio.create_task(supervise(scheduler.components, stop), name="embedded-scheduler")
    try:
        yield scheduler.candidate
    finally:
        stop.set()
        await running
        await scheduler.close()


class _SchemaGuard(Component):
    """Ends the process when the schema turns out to be older than this code."""

    name = "schema"

    def __init__(self, candidate: Candidate, stop: asyncio.Event) -> None:
        self._candidate = candidate
        self._stop = stop

    async def run(self) -> None:
        await self._candidate.schema_known.wait()
        if self._candidate.schema_behind is not None:
            self._stop.set()
