"""Steady work of every kind, about fifty runs a second: schedules, enqueues, refunds, reminders, and things that go wrong."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from sqlalchemy import Engine

from local_stack.demo.plan import Plan, draw
from local_stack.demo.seed import database_now, insert
from scheduler_svc.schedules import Schedules
from shared.core.jobspec import Overlap
from shared.core.schedule import ScheduleSpec, every

STAGES = "-3d,0d,+3d,+7d,+14d"
#: A second.
ENQUEUES, REFUNDS, INVOICES, SCHEDULES = 12, 3, 3, 10
#: What the settings of the stack have to say for it.
ENV: Mapping[str, str] = {"REFUNDS_EVERY_S": "2", "REMINDERS_EVERY_S": "3", "REMINDER_STAGES": STAGES}
#: Retries, and answers that come late or never.
_STRIPE_FAULTS: tuple[dict[str, Any], ...] = (
    {"mode": "status", "status": 503, "probability": 0.03},
    {"mode": "drop_after", "probability": 0.02},
    {"mode": "delay", "delay_s": 1, "probability": 0.03},
)
_BREVO_FAULTS: tuple[dict[str, Any], ...] = (
    {"mode": "status", "status": 503, "probability": 0.03},
    {"mode": "drop_after", "probability": 0.01},
)


class Load:
    """A context manager: the work comes while it is open. `refused` counts what the API did not take."""

    def __init__(self, engine: Engine, variables: Mapping[str, str], *, seed: int, seconds: float) -> None:
        self.refused = 0
        self._engine = engine
        self._variables = variables
        self._rand = Random(seed)
        steps = int(seconds) + 1
        with engine.connect() as connection:
            now = database_now(connection)
        self._plan = draw(seed, refunds=REFUNDS * steps, invoices=INVOICES * steps, now=now, stages=STAGES)
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        for variable, path, faults in (
            ("STRIPE_API_BASE_URL", "/v1/refunds", _STRIPE_FAULTS),
            ("BREVO_BASE_URL", "/v3/smtp/email", _BREVO_FAULTS),
        ):
            base = self._variables[variable].removesuffix("/v3")
            for fault in faults:
                told = {"match": {"method": "POST", "path": path}, **fault}
                httpx.post(f"{base}/_sandbox/faults", json=told, trust_env=False).raise_for_status()
        schedules = Schedules(self._engine)
        for number in range(SCHEDULES):
            overlap = list(Overlap)[number % len(Overlap)]
            spec = ScheduleSpec(id=f"soak-{number}", job="ping", trigger=every("1s"), overlap=overlap)
            schedules.add(spec, actor="soak")
        for job, interval in (("confirm_reminders", "3s"), ("daily_cleanup", "30s")):
            schedules.add(ScheduleSpec(id=f"soak-{job}", job=job, trigger=every(interval)), actor="soak")
        with self._engine.begin() as connection:
            insert(connection, replace(self._plan, invoices=[], refunds=[]))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(60)
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{self._variables['API_PORT']}",
                headers={"Authorization": f"Bearer {self._variables['API_TOKEN'].partition(',')[0]}"},
                trust_env=False,
            ) as api:
                began, step = time.monotonic(), 0
                while not self._ending.wait(max(0.0, began + step - time.monotonic())):
                    self._step(api, step)
                    step += 1
        except Exception as error:
            self._failure = error

    def _step(self, api: httpx.Client, step: int) -> None:
        plan = self._plan
        chunk: Plan = replace(
            plan,
            customers=[],
            refunds=plan.refunds[step * REFUNDS : (step + 1) * REFUNDS],
            invoices=plan.invoices[step * INVOICES : (step + 1) * INVOICES],
        )
        with self._engine.begin() as connection:
            insert(connection, chunk)
        for number in range(ENQUEUES):
            self._post(
                api, "ping", {"sleep_s": self._rand.choice((0.0, 0.05, 0.5))}, f"soak-{step}-{number // 2}"
            )
        if step % 5 == 0:  # an error that is final: there is no such refund
            self._post(api, "process_refund", {"refund_id": str(UUID(int=self._rand.getrandbits(128)))}, None)

    def _post(self, api: httpx.Client, job: str, args: Mapping[str, object], key: str | None) -> None:
        answer = api.post("/v1/runs", json={"job": job, "args": args, "key": key})
        self.refused += not answer.is_success
