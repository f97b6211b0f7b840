"""The demo itself: seed, run, kill a leader and a worker, wait until all is settled, audit."""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from local_stack.auditor import snapshot
from local_stack.demo import view as views
from local_stack.demo.audit import Audit, audit
from local_stack.demo.plan import Plan, draw
from local_stack.demo.seed import database_now, insert
from local_stack.demo.state import State, look
from local_stack.stack import Stack, StackOptions
from scheduler_svc.schedules import Schedules
from shared.core.errors import BadInput
from shared.core.schedule import ScheduleSpec, every
from shared.db.engine import sync_engine

TICK = "demo_tick"
LOOK_EVERY_S = 0.05
DEADLINE_S = 180.0
STAGES = "-3d,0d,+3d,+7d,+14d"
#: The demo does not wait five minutes for a sweep; everything else is as in production, time-outs of leadership and leases too.
ENV: Mapping[str, str] = {
    "REFUNDS_EVERY_S": "2",
    "REMINDERS_EVERY_S": "3",
    "REMINDER_STAGES": STAGES,
    "STRIPE_RATE_PER_S": "50",  # of the sandbox's 100 for all endpoints together
    "STRIPE_TIMEOUT_S": "5",
    "LOG_FORMAT": "console",
    "LOG_DIR": "",
}
#: What the providers do wrong on the way: accept and cut the connection, answer 500 although it is done, answer late.
STRIPE_FAULTS: tuple[dict[str, Any], ...] = (
    {"match": {"path": "/v1/refunds", "method": "POST"}, "mode": "drop_after", "times": 5},
    {"match": {"path": "/v1/refunds", "method": "POST"}, "mode": "status", "status": 503, "times": 5},
    {"match": {"path": "/v1/refunds", "method": "POST"}, "mode": "delay", "delay_s": 1, "probability": 0.03},
)
BREVO_FAULTS: tuple[dict[str, Any], ...] = (
    {"match": {"path": "/v3/smtp/email", "method": "POST"}, "mode": "drop_after", "times": 1},
)


@dataclass(frozen=True, slots=True)
class Result:
    """The JSON object that `cuebx demo --json` ends with. Times in seconds."""

    refunds_due: int
    refunds_succeeded: int
    refunds_refused: int
    refunds_parked: int
    reminders_due: int
    reminders_sent: int
    duplicates: int
    failover_s: float | None
    elapsed_s: float
    ok: bool


class Showcase:
    """One run of the demo on a stack that is ready."""

    def __init__(self, stack: Stack, engine: Engine, plan: Plan, view: views.View) -> None:
        self._stack = stack
        self._engine = engine
        self._plan = plan
        self._view = view
        self.failover_s: float | None = None

    def run(self) -> None:
        """Returns when everything is settled, or the deadline has passed: the audit tells."""
        self._misbehave("STRIPE_API_BASE_URL", STRIPE_FAULTS)
        self._misbehave("BREVO_BASE_URL", BREVO_FAULTS)
        with self._engine.begin() as connection:
            insert(connection, self._plan)
        self._view.news(f"seeded {len(self._plan.refunds)} refunds and {len(self._plan.invoices)} invoices")
        deadline = time.monotonic() + DEADLINE_S
        self._until(lambda state: state.refunds_done >= len(self._plan.refunds) * 0.2, deadline)
        self._kill_leader(deadline)
        self._kill_worker(deadline)
        self._until(self._settled, deadline)

    def audit(self) -> Audit:
        stripe, brevo = self._books("STRIPE_API_BASE_URL"), self._books("BREVO_BASE_URL")
        with snapshot(self._engine) as connection:  # schedules fire on
            return audit(connection, self._plan, stripe, brevo)

    def _settled(self, state: State) -> bool:
        return (
            state.refunds_done >= len(self._plan.refunds)
            and state.reminders_sent >= self._plan.reminders_due
            and state.reminders_open == 0
        )

    def _kill_leader(self, deadline: float) -> None:
        state = self._until(lambda state: self._program(state.holder) is not None, deadline)
        name = self._program(state.holder)
        if name is None:
            return
        killed_at = time.monotonic()
        self._stack.supervisor.signal(name, signal.SIGKILL)
        self._view.news(f"killed the leader with -9: {name}, term {state.term}")
        before = self._look()
        after = self._until(
            lambda now: (now.term or 0) > (state.term or 0) and now.last_tick != before.last_tick, deadline
        )
        if after.last_tick != before.last_tick:
            self.failover_s = round(time.monotonic() - killed_at, 2)
            self._view.news(f"term {after.term}: {self._program(after.holder)} leads, and fires again")

    def _kill_worker(self, deadline: float) -> None:
        state = self._until(
            lambda state: self._program(state.busy_worker) is not None or self._settled(state), deadline
        )
        name = self._program(state.busy_worker) or self._stack.names("worker")[0]
        self._stack.supervisor.signal(name, signal.SIGKILL)
        self._view.news(f"killed a worker with -9: {name}, with work in its hands")

    def _program(self, process: str | None) -> str | None:
        """The program behind a process name, `host:pid`."""
        pid = int(process.rpartition(":")[2]) if process else None
        return next((name for name, each in self._stack.supervisor.pids().items() if each == pid), None)

    def _look(self) -> State:
        with self._engine.connect() as connection:
            state = look(connection, TICK)
        self._view.show(state)
        return state

    def _until(self, true: Callable[[State], bool], deadline: float) -> State:
        while not true(state := self._look()) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        return state

    def _misbehave(self, variable: str, faults: tuple[dict[str, Any], ...]) -> None:
        for fault in faults:
            httpx.post(f"{self._sandbox(variable)}/_sandbox/faults", json=fault).raise_for_status()

    def _books(self, variable: str) -> Mapping[str, Any]:
        books: Mapping[str, Any] = (
            httpx.get(f"{self._sandbox(variable)}/_sandbox/books", timeout=30).raise_for_status().json()
        )
        return books

    def _sandbox(self, variable: str) -> str:
        return self._stack.variables[variable].removesuffix("/v3")


def run_demo(
    *, refunds: int, invoices: int, workers: int, seed: int, data: Path, environ: Mapping[str, str]
) -> Result:
    """Runs the demo on a stack of its own, below `data`, whatever DATABASE_URL and the providers' keys say."""
    began = time.monotonic()
    mine = {name: value for name, value in environ.items() if name not in _NOT_MINE}
    options = StackOptions(
        data=data,
        ephemeral=True,
        workers=workers,
        env=ENV,
        stripe_arguments=("--auto", "--seed", str(seed), "--rate", "100"),
        brevo_arguments=("--seed", str(seed)),
    )
    with Stack(options, mine) as stack:
        stack.wait_ready()
        engine = sync_engine(stack.variables["DATABASE_URL"], application="cuebx-demo", bound_s=30)
        try:
            with engine.connect() as connection:
                plan = draw(
                    seed, refunds=refunds, invoices=invoices, now=database_now(connection), stages=STAGES
                )
            _add_schedules(Schedules(engine))
            with views.View(refunds=refunds, reminders=plan.reminders_due) as view:
                showcase = Showcase(stack, engine, plan, view)
                showcase.run()
            found = showcase.audit()
        finally:
            engine.dispose()
    elapsed_s = round(time.monotonic() - began, 1)
    shown = views.table(
        found,
        refunds_due=refunds,
        reminders_due=plan.reminders_due,
        failover_s=showcase.failover_s,
        elapsed_s=elapsed_s,
    )
    views.print_result(shown, found.findings)
    return Result(
        refunds_due=refunds,
        refunds_succeeded=found.refunds["succeeded"],
        refunds_refused=found.refunds["failed"],
        refunds_parked=found.refunds["needs_review"],
        reminders_due=plan.reminders_due,
        reminders_sent=found.reminders["sent"],
        duplicates=found.duplicates,
        failover_s=showcase.failover_s,
        elapsed_s=elapsed_s,
        ok=not found.findings and showcase.failover_s is not None,
    )


def as_json(result: Result) -> dict[str, Any]:
    return asdict(result)


#: The demo must never reach a real server or a real provider.
_NOT_MINE = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "STRIPE_API_KEY",
        "STRIPE_API_BASE_URL",
        "STRIPE_WEBHOOK_SECRET",
        "BREVO_API_KEY",
        "BREVO_BASE_URL",
        "BREVO_WEBHOOK_TOKEN",
        "BREVO_SENDER_EMAIL",
        "SENTRY_DSN",
        "ENVIRONMENT",
    }
)


def _add_schedules(schedules: Schedules) -> None:
    """A tick that shows that somebody leads; and unclear batches are confirmed in seconds, not after ten minutes."""
    for spec in (
        ScheduleSpec(id=TICK, job="ping", trigger=every("1s")),
        ScheduleSpec(id="demo_confirm", job="confirm_reminders", trigger=every("3s")),
    ):
        try:
            schedules.add(spec, actor="demo")
        except BadInput:
            schedules.add(spec, actor="demo", replace=True)
