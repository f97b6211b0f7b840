"""A worker process: the product's intake, attempts, leases, verdict, recorder and heartbeat, and handlers of the model's own."""

from asyncio import CancelledError
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from shared.core.decide import decide_unknown_job
from shared.core.errors import Fenced
from shared.core.jobspec import Queue
from shared.core.outcomes import Cancel, Decision, Done, Outcome
from shared.core.states import RunState
from shared.db import ledger
from shared.db.errors import is_outage
from shared.db.ledger import Finished
from shared.health import Readiness
from shared.ports import Message
from tests.model.attempts import Attempt, Running, Stopped
from tests.model.cluster import GRACE_S, LEASE_S, Cluster
from tests.model.connections import AsyncConnection, AsyncDatabase, Engine
from tests.model.database import Database, Row, Tx
from tests.model.jobs import HANDLERS
from tests.model.processes import Process
from tests.model.rules import Violation
from tests.model.runs import RUNS
from tests.model.world import drive
from worker_svc.decisions import decide_for
from worker_svc.drain import HAND_BACK_S, Drain
from worker_svc.endings import Ending
from worker_svc.heartbeat import Heartbeat
from worker_svc.intake import DatabaseAway, Intake
from worker_svc.recorder import Recorder
from worker_svc.verdict import Ended, verdict

QUEUE = Queue.MAINTENANCE.value
SLOTS = 6
AWAY = (DatabaseAway, OSError, RedisError)


class Entry(Ending):
    """An outcome on its way into the ledger."""

    def __init__(self, worker: "Worker", attempt: Attempt, decision: Decision) -> None:
        super().__init__(attempt, decision, 0.0, lambda _: None)
        self.worker = worker

    def answer(self, ours: bool) -> None:
        super().answer(ours)
        if not ours:
            self.worker.cluster.watch.given_up(self.finished)


class AllOrNothing(Recorder):
    """Without rule 9: what PostgreSQL refuses is dropped, with all that came together with it."""

    async def _write(self, batch: Any) -> None:
        if await self._commit(batch) is not None:
            for entry in batch:
                entry.answer(False)


class Worker(Process):
    """Works on runs. `knows` are the jobs of its version."""

    def __init__(self, world: Cluster, name: str, version: int = 1) -> None:
        super().__init__(world, name)
        self.cluster, self.version = world, version
        self.left = False

    def knows(self, job: str) -> bool:
        return job in HANDLERS and (job != "new" or self.version > 1)

    def boot(self) -> None:
        self.left = False
        self.engine = Engine(self.cluster.postgres, self.name, LEASE_S * 0.8)
        self.database: Any = AsyncDatabase(self.engine)
        self.attempts = Running()
        self.waiting: list[Entry] = []
        self.intake = Intake(QUEUE, self.cluster.redis, self.database, worker=self.name, lease_s=LEASE_S)
        self.recorder = (Recorder if self.world.rules.on(9) else AllOrNothing)(self.database)
        ready = Readiness("database")
        self.heartbeat = Heartbeat(self.database, self.attempts, ready, lease_s=LEASE_S)
        self.claims = self.spawn("intake", self._take)
        self.spawn("recorder", self._record)
        self.spawn("heartbeat", self._beat)

    def leave(self) -> None:
        """SIGTERM: no more claims, a grace, then hand back."""
        self.world.fault(f"{self.name} is told to stop")
        self.left = True
        self.spawn("drain", self._drain)

    # ------------------------------------------------------------------------------------------------------ tasks

    def _take(self) -> None:
        while not self.left:
            try:
                drive(self.intake.check())
                while not self.left:
                    self._claim()
            except AWAY:
                self.world.sleep(0.2)

    def _claim(self) -> None:
        free = SLOTS - len(self.attempts)
        if free <= 0:
            return self.world.wait_until(lambda: len(self.attempts) < SLOTS or self.left)
        messages: list[Message] = drive(self.intake.take(free))
        if messages:
            attempts: list[Attempt] = drive(self.intake.claim(messages))
            for attempt in attempts:
                self.attempts.add(attempt)
                self.spawn(f"{attempt.run.id.int}:{attempt.run.attempt}", partial(self._execute, attempt))
            drive(self.intake.acknowledge(messages))
        if len(messages) < free and not self.left:
            redis = self.cluster.redis
            self.world.wait_until(lambda: bool(redis.waiting(QUEUE, self)) or self.left, 2.0)

    def _execute(self, attempt: Attempt) -> None:
        decision = self.decide(attempt)
        if decision is not None:
            entry = Entry(self, attempt, decision)
            self.waiting.append(entry)
            self.world.wait_until(lambda: entry.ours is not None)
        self.attempts.remove(attempt)

    def decide(self, attempt: Attempt) -> Decision | None:
        """As `Funnel._decide`."""
        run = attempt.run
        if not self.knows(run.job):
            self.cluster.watch.unknown(run)
            decision = decide_unknown_job(run.job)
            return decision if self.world.rules.on(10) else decision._replace(delay_s=0.0)
        if run.cancel_requested:
            return decide_for(run, Cancel("cancelled on request"))
        self.cluster.watch.began(run)
        ended = Ended()
        try:
            outcome: Outcome = HANDLERS[run.job](self, attempt)
            ended = Ended(outcome)
        except Violation:
            raise
        except Stopped:
            ended = Ended(error=CancelledError())
        except Exception as error:
            ended = Ended(error=error)
        if run.job == "unstorable":
            return Decision(RunState.SUCCEEDED, result={"text": "\x00"})
        return verdict(run, attempt.stopped, ended)

    def _record(self) -> None:
        while True:
            self.world.wait_until(lambda: bool(self.waiting))
            batch, self.waiting = self.waiting, []
            drive(self.recorder._write(batch))

    def _beat(self) -> None:
        while True:
            pause_s = LEASE_S / 3
            try:
                drive(self.heartbeat.beat())
            except Exception as error:
                if not is_outage(error):
                    raise
                pause_s = 0.3
            self.world.sleep(pause_s)

    def _drain(self) -> None:
        drive(Drain(self.attempts, grace_s=GRACE_S).stop())
        self.world.wait_until(lambda: self.claims not in self.tasks, HAND_BACK_S)
        self.alive = False
        for task in list(self.tasks):
            if task.name != "drain":
                task.kill()

    # ----------------------------------------------------------------------------------------------- business rows

    def write_business_row(self, attempt: Attempt, done: Done | None = None) -> None:
        """Rule 7: the row carries run and attempt, and every write checks them; with `done`, the run ends in the same
        transaction, as `JobContext.complete` does. Raises Fenced."""
        run = attempt.run
        with self.engine.begin() as connection:

            def write_business_row(db: Database, tx: Tx) -> list[Row]:
                if self.world.rules.on(7):  # as refund_fence.sql
                    tx.lock(RUNS, run.id)
                    row = tx.get(RUNS, run.id)
                    if row.state != "running" or row.attempt != run.attempt:
                        return []
                tx.put("business", run.id, (run.id, run.attempt))
                return [Row(id=run.id)]

            if not self.cluster.postgres.call(connection.tx, write_business_row, run.attempt):
                raise Fenced
            if done is not None:
                finished = [Finished(run.id, run.attempt, decide_for(run, done))]
                database = AsyncConnection(connection)
                if not drive(ledger.finish(database, finished)) and self.world.rules.on(7):
                    raise Fenced

    def call_provider(self, attempt: Attempt) -> None:
        """Rule 7: not without a look at the lease."""
        if self.world.rules.on(7):
            attempt.lease.check()
        self.cluster.watch.calls(attempt.run)
        self.world.ask(self.cluster.provider, "pay", lambda: None, detail=attempt.run.id.int)
