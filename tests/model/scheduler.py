"""A scheduler process: the product's term (firing, relay, sweeper, memory of Redis) under the product's trust in its lock.

What the product does with threads and an event loop, tasks do here: electing, renewing, and calling the four again and again.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scheduler_svc import sync
from scheduler_svc.builtin import Definition
from scheduler_svc.firing import Pass
from scheduler_svc.leader_lock import LeaderLock
from scheduler_svc.leadership import NotLeading
from scheduler_svc.outages import Outages
from scheduler_svc.relay import BACKSTOP_S, PER_QUEUE
from scheduler_svc.term import SILENT_TTLS, Resources, Term, begin_term
from shared.core.schedule import ScheduleSpec, every
from shared.core.trust import Grant, Step, Trust, renew_every_s
from shared.health import Readiness
from tests.model.cluster import LEASE_S, TTL_S, Cluster
from tests.model.connections import AsyncDatabase, Engine
from tests.model.jobs import JOBS
from tests.model.processes import Process
from tests.model.variants import Gullible, Unforgiving
from tests.model.world import drive

#: What a failure of either server looks like.
AWAY = (SQLAlchemyError, OSError, RedisError)
#: Before a process stands again that could not reach PostgreSQL: others may be better placed.
REST_S = 0.3


def definitions(version: int) -> list[Definition]:
    """What this version's code says of its one schedule."""
    spec = ScheduleSpec(id="builtin", job="quick", trigger=every("4s" if version == 1 else "3s"))
    return [Definition(spec.bound_to(JOBS), version)]


class Scheduler(Process):
    """May lead. `version` is its code's: of what it defines."""

    def __init__(self, world: Cluster, name: str, version: int = 1) -> None:
        super().__init__(world, name)
        self.cluster, self.version = world, version
        self.term: Term | None = None
        self.trust: Trust | None = None
        self.left = False

    # ------------------------------------------------------------------- what the product takes for its Leadership

    why = ""

    def check(self) -> None:
        if not self.trusts():
            raise NotLeading("the leader lock is no longer known to be ours")

    def trusts(self) -> bool:
        return self.alive and self.trust is not None and self.trust.holds(self.monotonic())

    def ticked_at(self) -> float:
        return self.hung_at if self.stalled or self.stopped else self.monotonic()

    hung_at = 0.0

    def hang(self, *, stopped: bool) -> None:
        """SIGSTOP; or the event loop stands still, while threads go on."""
        self.world.fault(f"{self.name} {'is stopped' if stopped else 'has a hanging loop'}")
        self.hung_at = self.monotonic()
        self.stopped, self.stalled = stopped, not stopped

    # ------------------------------------------------------------------------------------------------------ tasks

    def boot(self) -> None:
        self.term = self.trust = None
        self.left = False
        kind = Outages if self.world.rules.on(12) else Unforgiving
        self.outages = kind(Readiness("postgres", "redis"))
        self.lock = LeaderLock("redis://model", TTL_S)
        self.lock._redis.close()
        self.lock._redis = self.cluster.redis
        bound_s = TTL_S * 0.8
        self.engine = Engine(self.cluster.postgres, self.name, bound_s)
        self.database = AsyncDatabase(self.engine)
        self.spawn("election", self._elect)

    def leave(self) -> None:
        """SIGTERM."""
        self.world.fault(f"{self.name} is told to stop")
        self.left = True
        if self.term is not None:
            self.term.end("shutdown")

    def _elect(self) -> None:
        if not self.world.rules.on(17):
            with suppress(*AWAY):
                self._define_as_apscheduler_does()
        while not self.left:
            asked_at = self.monotonic()
            try:
                held_for_s = self.lock.acquire()
                if held_for_s <= 0:
                    self._lead(asked_at)
                    continue
            except AWAY:
                held_for_s = REST_S
            self.world.wait_until(lambda: self.left, min(renew_every_s(TTL_S), held_for_s + 0.005))
        self.alive = False

    def _lead(self, asked_at: float) -> None:
        self.trust = (Trust if self.world.rules.on(16) else Gullible)(TTL_S, asked_at)
        tasks = []
        try:
            number = drive(self._begin_term())
            term = self.term = self._new_term(number)
            if self.left:
                term.end("shutdown")
            tasks = [
                self.spawn("renewal", lambda: self._renew(term), on_loop=False),
                self.spawn("firing", lambda: self._fire(term), on_loop=False),
                self.spawn("relay", lambda: self._relay(term)),
                self.spawn("sweeper", lambda: self._sweep(term)),
                self.spawn("silence", lambda: self._until_silent(term)),
            ]
            self.world.wait_until(term._over.is_set)
            self.world.fault(f"term {number} of {self.name} ends: {term._why}")
            silent = term._why == "postgres_silent"
        finally:
            self.term = self.trust = None
            for task in tasks:
                task.kill()
        self.lock.release()
        if silent:
            self.world.wait_until(lambda: self.left, REST_S)

    async def _begin_term(self) -> int:
        async with self.outages.watch_postgres():
            return await begin_term(self.database, self.name)

    def _new_term(self, number: int) -> Term:
        cluster = self.cluster
        term = Term(
            number,
            self,
            Resources(
                self.engine,
                self.database,
                cluster.redis,
                cluster.redis,
                self.outages,
                definitions(self.version) if self.world.rules.on(17) else [],
                TTL_S,
                LEASE_S,
                TTL_S * 0.8,
            ),
        )
        self.relay_at = math.inf
        term._relay.kick_in = lambda s: setattr(self, "relay_at", self.world.now + s)
        return term

    def _renew(self, term: Term) -> None:
        assert self.trust is not None
        attempted_at = self.trust.granted_at
        while self.trust is not None:
            step = self.trust.step(self.monotonic(), self.ticked_at(), attempted_at)
            if step is Step.STEP_DOWN:
                return term.end("unanswered")
            if step is Step.RENEW:
                attempted_at = self.monotonic()
                grant = self.lock.renew()
                self.trust = self.trust.after_attempt(grant, attempted_at)
                if grant is Grant.REFUSED and self.world.rules.on(16):
                    return term.end("refused")
            self.world.sleep(TTL_S / 12)

    def _fire(self, term: Term) -> None:
        while not term._over.is_set():
            outcome: Pass | Exception
            try:
                outcome = term._fire()
                wait_s = outcome.wait_s
            except (NotLeading, TimeoutError, *AWAY) as error:
                outcome, wait_s = error, 0.2
            term._passed(outcome)
            self.world.wait_until(lambda: False, max(wait_s, 0.01))

    def _relay(self, term: Term) -> None:
        relay = term._relay
        while True:
            relay._wanted.clear()
            self.relay_at = math.inf
            self._again(lambda: drive(relay.relay_announced()) or True)
            self._again(lambda: drive(relay.relay_once()) < PER_QUEUE)
            self.world.wait_until(
                lambda: relay._wanted.is_set() or self.world.now >= self.relay_at, BACKSTOP_S
            )

    def _sweep(self, term: Term) -> None:
        sweeper = term._sweeper
        while True:
            self._again(lambda: drive(sweeper.sweep()) or True)
            self.world.wait_until(sweeper._lost.is_set, sweeper._every_s)
            sweeper._lost.clear()

    def _until_silent(self, term: Term) -> None:
        """As `Term._until_silent`."""
        limit_s = SILENT_TTLS * TTL_S
        while self.outages.postgres_silent_for_s <= limit_s or not self.trusts():
            self.world.sleep(limit_s / 10)
        term.end("postgres_silent")

    def _again(self, work: Callable[[], bool]) -> None:
        """As `supervise` restarts a component that failed."""
        while True:
            try:
                if work():
                    return
            except AWAY:
                self.world.sleep(0.2)

    def _define_as_apscheduler_does(self) -> None:
        """Without rule 17: whoever starts writes its definitions, and their next fires count from now."""
        [each] = definitions(self.version)
        with self.engine.begin() as connection:
            rows = sync.definitions.lock_rows(connection, [each.spec.id])
            now = self.cluster.postgres.now()
            origin = sync.Origin(each.version, each.settings_hash)
            if not rows:
                return sync.definitions.insert(connection, each.spec, origin, now)
            row = SimpleNamespace(**{**rows[0], "next_run_time": None, "broken_due": None})
            sync.definitions.replace(connection, row, each.spec, origin)
