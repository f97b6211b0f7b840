"""Workers and the sweeper, as far as money needs them: claim, heartbeat, lost lease, hand-back, outcome."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog
from structlog.stdlib import BoundLogger

from shared import reminder_review
from shared.core.decide import decide_handed_back, decide_lost_lease
from shared.core.errors import Fenced
from shared.core.jobspec import JobArgs, JobSpec
from shared.core.outcomes import Recorded
from shared.db import (
    ledger,
    mail_events,
    one_off_reminders,
    refund_steps,
    refund_work,
    refunds,
    reminder_batches,
    reminders,
)
from shared.db.ledger import ClaimedRun, Finished
from shared.enqueue import Enqueuer
from shared.jobs import JOBS
from shared.ports import Clock, RateLimiter
from tests.fakes.context import WatchedContext
from tests.model.money.database import Row, SimDatabase
from tests.model.money.ledger_sql import LIVE, SQL, new_run
from tests.model.money.stage import LEASE_S, Process, Stage
from worker_svc.context import Handler, JobContext, Services
from worker_svc.decisions import decide_for
from worker_svc.lease import Lease

_WITH_STATEMENTS = (
    ledger, mail_events, one_off_reminders, refund_steps, refund_work, refunds, reminder_batches, reminders, reminder_review
)  # fmt: skip
HAND_BACK = "hand back"
TIME_OUT = "time-out"
LOST = "lost"


@contextmanager
def simulated_sql() -> Iterator[None]:
    """Statements are their files' names as long as this lasts."""
    with ExitStack() as stack:
        for module in _WITH_STATEMENTS:
            stack.enter_context(patch.object(module, "statement", str))
        yield


class SimEnqueuer(Enqueuer):
    """Without wake-ups: the scenario claims what it likes."""

    def __init__(self, database: Any) -> None:
        super().__init__(database, None)  # type: ignore[arg-type]  # nothing is pushed

    async def push_now(self, queue: str, messages: Any) -> bool:
        return True

    def _push_after_commit(self, *_: Any) -> None: ...


class NoLimit(RateLimiter):
    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None: ...

    async def slow_down(self, name: str, for_s: float) -> None: ...


class SimClock(Clock):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def now(self) -> Any:
        return self._stage.now

    def monotonic(self) -> float:
        return self._stage.monotonic


def _silent(*_: Any) -> Any:
    raise structlog.DropEvent


class Workers:
    """`handlers`: the real ones. Claims and leases are steps of their own, and cannot be cut."""

    def __init__(
        self, stage: Stage, database: SimDatabase, handlers: Mapping[str, Handler], **ports: Any
    ) -> None:
        self.stage = stage
        self.database = database
        self._handlers = handlers
        database.sql |= SQL
        self._log: BoundLogger = structlog.wrap_logger(None, processors=[_silent], wrapper_class=BoundLogger)
        unused: Any = None
        self.services = Services(
            **{
                "database": database,
                "enqueuer": SimEnqueuer(database),
                "gateway": unused,
                "mailer": unused,
                "renderer": unused,
                "limiter": NoLimit(),
                "clock": SimClock(stage),
                "sender": ("billing@example.com", "CueBX"),
                "stages": "0d",
                "stripe_rate_per_s": 25,
                "stripe_total_rate_per_s": 100,
                "retention": timedelta(days=90),
                **ports,
            }
        )

    # ---------------------------------------------------------------------------------------------------------- the runs

    def enqueue(self, spec: JobSpec[Any], args: JobArgs | None = None, **columns: Any) -> Row:
        encoded = spec.encode(args or spec.args())
        return new_run(
            self.database.alone(), spec.name, encoded, max_attempts=spec.retry.max_attempts, **columns
        )

    def due(self, *jobs: str) -> list[Row]:
        runs = self.database.rows("job_runs", state="pending")
        return [r for r in runs if r.run_at <= self.stage.now and (not jobs or r.job in jobs)]

    def live(self, job: str) -> list[Row]:
        return [run for run in self.database.rows("job_runs", job=job) if run.state in LIVE]

    def claim(self, run: Row) -> Process:
        """A worker takes it, up to its first point."""
        stage = self.stage
        run.state, run.attempt = "running", run.attempt + 1
        run.lease_until = stage.now + timedelta(seconds=LEASE_S)
        columns: dict[str, Any] = {
            "queue": JOBS[run.job].queue.value,
            "schedule_id": None,
            "overlap": "allow",
        }
        columns |= {"enqueued_at": stage.now, "started_at": stage.now}
        kept = {
            name: getattr(run, name) for name in ("id", "job", "args", "attempt", "max_attempts", "losses")
        }
        claimed = ClaimedRun(**kept, **columns, cancel_requested=run.cancel_requested, due_at=run.due_at)
        lease = Lease(stage.monotonic, LEASE_S, lambda: stage.monotonic)
        if run.cancel_requested:
            lease.cancel_requested.set()
        # Each process renders for itself.
        services = replace(self.services, rendering_turn=asyncio.Lock())
        context = WatchedContext(claimed, lease, services, self._log)
        name = f"{run.job}#{run.seq}:{run.attempt}"
        return stage.start(name, self._work(context), lease=lease, run=claimed)

    async def _work(self, context: JobContext) -> object:
        outcome: Any
        run = context.run
        try:
            outcome = await self._handlers[run.job](context, JOBS[run.job].decode(run.args))
        except Exception as error:
            outcome = error
        if isinstance(outcome, Recorded | Fenced):
            return outcome
        await self._record(Finished(run.id, run.attempt, decide_for(run, outcome)))
        return outcome

    async def _record(self, finished: Finished) -> None:
        for _ in range(2):  # then its lease runs out
            try:
                async with self.database.begin() as db:
                    await ledger.finish(db, [finished])
                return
            except ConnectionError:
                continue

    def tell_to_stop(self, process: Process, why: str) -> None:
        """SIGTERM or the job's time-out; what its handler unwinds is not disturbed."""
        self.stage.cancel(process, why)
        if process.run is None:
            return
        if why == LOST:
            process.lease.lose()  # type: ignore[union-attr]  # a worker has one
            return
        decision = decide_handed_back() if why == HAND_BACK else decide_for(process.run, TimeoutError(why))
        finished = Finished(process.run.id, process.run.attempt, decision)
        if process.over:
            self.stage.processes.remove(process)
            self.stage.start(f"{process.name} ends", self._record(finished))

    def cancel(self, run: Row) -> None:
        """A person's `cuebx runs cancel`."""
        self.stage.say(f"run {run.job}#{run.seq} is asked to cancel")
        run.cancel_requested = True
        run.state = run.state if run.state == "running" else "cancelled"

    # ------------------------------------------------------------------------------------------------- time and leases

    def pass_time(self, by: timedelta) -> None:
        """Heartbeats go on meanwhile, where the process is not stopped; so do time-outs of calls."""
        self.stage.say(f"{by} pass", step=True)
        self.stage.pass_time(by)
        for process in list(self.stage.processes):
            if process.stopped or process.over or process.lease is None:
                continue
            run = self._run(process.run.id)
            if run.state == "running" and run.attempt == process.run.attempt:
                run.lease_until = self.stage.now + timedelta(seconds=LEASE_S)
                process.lease.renewed(self.stage.monotonic)
                if run.cancel_requested:
                    process.lease.cancel_requested.set()
            else:
                self.tell_to_stop(process, LOST)

    def sweep_leases(self) -> int:
        """Runs whose lease ran out go to others (rules 12 and 13); how many."""
        lost = [r for r in self.database.rows("job_runs", state="running") if r.lease_until < self.stage.now]
        for run in lost:
            run.losses += 1
            policy = JOBS[run.job].retry
            decision = decide_lost_lease(run.losses, run.attempt, run.max_attempts, policy, lambda: 0.5)
            run.state, run.lease_until, run.error = decision.state.value, None, decision.error
            run.run_at = self.stage.now + timedelta(seconds=decision.delay_s)
            self.stage.say(f"run {run.job}#{run.seq} was lost by its worker: {run.state}")
        return len(lost)

    def calm(
        self, jobs: Iterable[JobSpec[Any]], rounds: int, every: timedelta, *, due_at: bool = False
    ) -> None:
        """Nothing fails any more: everybody goes on, time passes, the schedules fire (with their `due_at`)."""
        self.stage.say("calm")
        self.stage.is_calm = True
        for _ in range(rounds):
            for process in list(self.stage.processes):
                process.stopped = False
            self.pass_time(timedelta(0))
            for process in list(self.stage.processes):
                self.stage.finish(process)
            self.stage.processes.clear()
            self.pass_time(every)
            self.sweep_leases()
            for spec in jobs:
                self.enqueue(spec, due_at=self.stage.now if due_at else None)
            while due := self.due():
                for run in due:
                    if run.state == "pending":
                        self.stage.finish(self.claim(run))

    def _run(self, run_id: UUID) -> Row:
        found: Row = self.database.tables["job_runs"][run_id]
        return found
