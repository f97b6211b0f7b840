"""One term as leader: what runs while it lasts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from scheduler_svc import metrics
from scheduler_svc.builtin import Definition
from scheduler_svc.firing import Firing, Pass
from scheduler_svc.leadership import Leadership, NotLeading
from scheduler_svc.outages import Outages
from scheduler_svc.redis_memory import RedisMemory
from scheduler_svc.relay import Relay
from scheduler_svc.scheduler import LedgerScheduler
from scheduler_svc.sweeper import Sweeper
from scheduler_svc.sync import mend_broken, sync_definitions
from shared.db.engine import Database
from shared.health import describe
from shared.jobs import JOBS
from shared.lifecycle import supervise
from shared.ports import Transport

log = structlog.get_logger(__name__)

#: A leader that cannot reach PostgreSQL for this many TTLs lets others try.
SILENT_TTLS = 5.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a scheduler process has, term or not."""

    engine: Engine
    database: Database
    redis: Redis
    transport: Transport
    outages: Outages
    definitions: Sequence[Definition]
    leader_ttl_s: float
    lease_s: float
    bound_s: float
    reads: Engine | None = None


class Term:
    """Starts APScheduler, relay and sweeper; `serve` returns, with the reason, when the term is over."""

    def __init__(self, number: int, leadership: Leadership, resources: Resources) -> None:
        self.number = number
        self._leadership = leadership
        self._r = resources
        self._ready = False
        self._firing = self._new_firing()
        self._relay = Relay(resources.database, resources.transport, resources.outages)
        memory = RedisMemory(resources.redis, resources.database, resources.outages)
        self._sweeper = Sweeper(
            resources.database,
            resources.transport,
            memory,
            resources.outages,
            lease_s=resources.lease_s,
            put_back=self._relay.kick,
        )
        self._scheduler: LedgerScheduler | None = None
        self._over = asyncio.Event()
        self._why = ""

    def schedules_changed(self) -> None:
        if self._scheduler is not None:
            self._scheduler.wakeup()

    def relay_wanted(self) -> None:
        self._relay.kick()

    def end(self, why: str) -> None:
        """The first reason counts."""
        self._why = self._why or why
        self._over.set()

    async def serve(self) -> str:
        watching = [asyncio.create_task(watch()) for watch in (self._until_lost, self._until_silent)]
        self._scheduler = LedgerScheduler(self._r.engine, self._fire, self._passed)
        self._scheduler.start()
        try:
            await supervise([self._relay, self._sweeper], self._over)
        finally:
            for task in watching:
                task.cancel()
            await self._scheduler.close()
        return self._why

    async def _until_lost(self) -> None:
        await self._leadership.lost.wait()
        self.end(self._leadership.why)

    async def _until_silent(self) -> None:
        # Not left to the firing path: its thread may hang in a statement that nobody answers; relay and sweeper do not.
        outages, leadership, limit_s = self._r.outages, self._leadership, SILENT_TTLS * self._r.leader_ttl_s
        # Who stood still himself heard nothing meanwhile: that is no silence of PostgreSQL's.
        while outages.postgres_silent_for_s <= limit_s or not leadership.trusted:  # noqa: ASYNC110  # time itself makes it true
            await asyncio.sleep(limit_s / 10)
        self.end("postgres_silent")

    def _fire(self) -> Pass:
        """In the firing thread. The first pass of a term brings the stores up to date."""
        if self._over.is_set():
            raise NotLeading("the term is over")
        if not self._ready:
            mend_broken(self._r.engine, JOBS)
            sync_definitions(self._r.engine, self._new_firing(), self._r.definitions, self._leadership.check)
            self._ready = True
        done = self._firing.fire_due()
        if done.resets:
            self._ready = False
            return replace(done, wait_s=0.0)
        return done

    def _passed(self, outcome: Pass | Exception) -> None:
        """Back on the event loop."""
        outages = self._r.outages
        match outcome:
            case Pass():
                outages.postgres_ok()
                if outcome.leases_lost:
                    self._sweeper.kick()
                self._relay.announce(outcome.ready)
                if outcome.runs > sum(map(len, outcome.ready.values())):
                    self._relay.kick()
                elif outcome.relay_in_s is not None:
                    self._relay.kick_in(outcome.relay_in_s)
            case NotLeading():
                self.end(self._leadership.why or "untrusted")
            case SQLAlchemyError() | OSError():
                outages.postgres_failed(outcome)
            case _:
                log.error("firing_failed", error=describe(outcome), exc_info=outcome)

    def _new_firing(self) -> Firing:
        r = self._r
        return Firing(r.engine, JOBS, bound_s=r.bound_s, check_trust=self._leadership.check, reads=r.reads)


async def begin_term(database: Database, holder: str) -> int:
    """The number of a new term, from PostgreSQL's sequence (rule 16)."""
    rows = await database.rows(
        "INSERT INTO leader_terms (holder) VALUES (:holder) RETURNING term", holder=holder
    )
    return int(rows[0].term)


async def record_end(database: Database, term: int, why: str) -> None:
    """Best effort: a term without an end ended without saying so."""
    sql = "UPDATE leader_terms SET ended_at = now(), end_reason = :why WHERE term = :term RETURNING term"
    try:
        async with asyncio.timeout(1.0):
            await database.rows(sql, term=term, why=why)
    except Exception as error:
        log.info("term_end_not_recorded", term=term, error=describe(error))


async def _take_back(database: Database, term: int) -> None:
    """Best effort, for a number that came too late to lead with: the newest term is shown as the leader's."""
    try:
        async with asyncio.timeout(1.0):
            await database.rows("DELETE FROM leader_terms WHERE term = :term RETURNING term", term=term)
    except Exception as error:
        log.info("term_not_taken_back", term=term, error=describe(error))


async def lead(
    leadership: Leadership, resources: Resources, holder: str, began: Callable[[Term | None], None]
) -> str:
    """A whole term, from its number to its end. `began` gets the term, and None when it is over. Raises NotLeading."""
    leadership.check()
    async with resources.outages.watch_postgres():
        number = await begin_term(resources.database, holder)
    try:
        leadership.check()
    except NotLeading:
        await _take_back(resources.database, number)
        raise
    term = Term(number, leadership, resources)
    structlog.contextvars.bind_contextvars(term=number)
    log.info("term_began", holder=holder)
    metrics.LEADER.set(1)
    metrics.TERM.set(number)
    started = time.monotonic()
    began(term)
    try:
        why = await term.serve()
    finally:
        began(None)
        metrics.LEADER.set(0)
        structlog.contextvars.unbind_contextvars("term")
        await leadership.end()
    log.info("term_ended", term=number, reason=why, lasted_s=round(time.monotonic() - started, 3))
    await record_end(resources.database, number, why)
    return why
