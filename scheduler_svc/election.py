"""Standing for leader: a standby tries when it hears that the leader left, when the lock expires, and every TTL/4."""

import asyncio
import time
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from scheduler_svc.leader_lock import LeaderLock
from scheduler_svc.leadership import Leadership
from scheduler_svc.term import Resources, Term, lead
from shared.core.trust import renew_every_s
from shared.db.revision import SchemaBehind
from shared.failpoints import Point, failpoint
from shared.health import describe
from shared.lifecycle import Component

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.2
#: Work flows again within 5 s of an outage: more than one wait has to fit into that.
RETRY_CAP_S = 2.0
#: A standby's look at PostgreSQL, for its readiness.
PING_EVERY_S = 2.0
#: The lock's own expiry is waited for to the millisecond, and a bit.
EXPIRY_SLACK_S = 0.005


class Candidate(Component):
    """Runs as long as its process; `term` is the current one while it leads."""

    name = "election"

    def __init__(self, resources: Resources, lock: LeaderLock, holder: str) -> None:
        self.term: Term | None = None
        self.schema_behind: SchemaBehind | None = None
        self.schema_known = asyncio.Event()
        self.changed = asyncio.Event()  # the role has
        self._r = resources
        self._lock = lock
        self._holder = holder
        self._retry_s = RETRY_FIRST_S
        self._pinged_at = float("-inf")
        self._deaf_until = float("-inf")
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def role(self) -> str:
        return "leader" if self.term is not None else "standby"

    def leader_left(self) -> None:
        if time.monotonic() >= self._deaf_until:
            self._wake.set()

    def schedules_changed(self) -> None:
        if self.term is not None:
            self.term.schedules_changed()

    def relay_wanted(self) -> None:
        if self.term is not None:
            self.term.relay_wanted()

    async def run(self) -> None:
        try:
            await self._check_schema()
        except SchemaBehind as error:
            self.schema_behind = error
            return
        finally:
            self.schema_known.set()
        while not self._stopping.is_set():
            await self._sleep(await self._stand())

    async def stop(self) -> None:
        """Ends the term in good order, with a notice to the standbys."""
        self._stopping.set()
        self._wake.set()
        if self.term is not None:
            self.term.end("shutdown")
        await self._idle.wait()
        self._lock.close()

    async def _check_schema(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._r.outages.watch_postgres():
                    return await self._r.database.check_schema()
            except SchemaBehind:
                raise
            except Exception as error:
                log.info("postgres_awaited", error=describe(error), retry_in_s=self._retry_s)
            await self._sleep(self._backoff())

    async def _stand(self) -> float:
        """One try; for how long to wait before the next."""
        asked_at = time.monotonic()
        try:
            async with self._r.outages.watch_redis():
                held_for_s = await asyncio.to_thread(self._lock.acquire)
        except RedisError:
            return self._backoff()
        if held_for_s > 0:
            await self._ping_postgres()
            return min(renew_every_s(self._lock.ttl_s), held_for_s + EXPIRY_SLACK_S)
        self._idle.clear()
        leadership = Leadership(self._lock, asked_at)
        leadership.begin()
        try:
            failpoint(Point.LEADER_ACQUIRED)
            why = await lead(leadership, self._r, self._holder, self._set_term)
        except Exception as error:
            # PostgreSQL is away from here, say: somebody else may be better placed.
            log.warning("term_failed", error=describe(error))
            await leadership.end()
            return self._rest()
        finally:
            self._idle.set()
        self._retry_s = RETRY_FIRST_S
        return self._rest() if why == "postgres_silent" else 0.0

    async def _ping_postgres(self) -> None:
        if time.monotonic() - self._pinged_at < PING_EVERY_S:
            return
        self._pinged_at = time.monotonic()
        with suppress(Exception):
            async with self._r.outages.watch_postgres():
                await self._r.database.ping()
            self._retry_s = RETRY_FIRST_S

    def _set_term(self, term: Term | None) -> None:
        self.term = term
        self.changed.set()
        if term is not None and self._stopping.is_set():
            term.end("shutdown")

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
        if not self._stopping.is_set():
            self._wake.clear()

    def _rest(self) -> float:
        """Backs off after a term that failed. The notice of its own release wakes nobody, nor that of another who fails in
        the same way: they would wake each other without end."""
        delay = self._backoff()
        self._deaf_until = time.monotonic() + delay
        if not self._stopping.is_set():
            self._wake.clear()
        return delay

    def _backoff(self) -> float:
        delay, self._retry_s = self._retry_s, min(RETRY_CAP_S, self._retry_s * 2)
        return delay
