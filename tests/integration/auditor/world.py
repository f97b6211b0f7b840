"""A small history in which everything is right: schedules that fired, runs that ended, money and mail that went out once."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from local_stack.auditor import Finding, Known, Rest, audit

EVERY_S = 10


@dataclass
class World:
    """A database in one open transaction, the providers' books, and what an outsider knows. `t0`: when it all began."""

    connection: Connection
    t0: datetime
    ids: dict[str, UUID] = field(default_factory=dict)
    stripe: dict[str, Any] = field(default_factory=lambda: {"refunds": []})
    brevo: dict[str, Any] = field(default_factory=lambda: {"mails": []})
    known: Known = field(default_factory=Known)
    rest: Rest | None = None

    def sql(self, statement: str, **params: Any) -> None:
        self.connection.execute(text(statement), params)

    def after(self, seconds: float) -> datetime:
        return self.t0 + timedelta(seconds=seconds)

    def id(self, name: str) -> UUID:
        return self.ids.setdefault(name, uuid4())

    def findings(self) -> list[Finding]:
        return audit(self.connection, stripe=self.stripe, brevo=self.brevo, known=self.known, rest=self.rest)

    def run(self, name: str, job: str = "ping", args: dict[str, Any] | None = None, **columns: Any) -> UUID:
        """A pending run, enqueued at `t0`."""
        values = {
            "id": self.id(name),
            "job": job,
            "queue": "maintenance",
            "run_at": self.t0,
            "enqueued_at": self.t0,
        }
        values |= columns
        names = ", ".join([*values, "args"])
        marks = ", ".join([*(f":{column}" for column in values), "CAST(:args AS jsonb)"])
        self.sql(
            f"INSERT INTO job_runs ({names}) VALUES ({marks})", **values, args=json.dumps(args or {})
        )  # names of columns
        return self.id(name)

    def claim(self, name: str) -> None:
        self.sql(
            "UPDATE job_runs SET state = 'running', attempt = attempt + 1, lease_until = now(), worker = 'w' WHERE id = :id",
            id=self.id(name),
        )

    def finish(self, name: str, state: str = "succeeded", **columns: Any) -> None:
        values = {"finished_at": None if state == "pending" else self.after(30), **columns}
        names = "".join(f", {column} = :{column}" for column in values)
        self.sql(
            f"UPDATE job_runs SET state = :state, lease_until = NULL{names} WHERE id = :id",  # names of columns
            state=state,
            id=self.id(name),
            **values,
        )

    def done(self, name: str, job: str = "ping", args: dict[str, Any] | None = None, **columns: Any) -> UUID:
        """A run that was claimed once, and has succeeded."""
        self.run(name, job, args, **columns)
        self.claim(name)
        self.finish(name)
        return self.id(name)

    def schedule(self, schedule_id: str, trigger: dict[str, Any], first: datetime) -> None:
        state = {"job": "ping", "args": {}, "trigger": trigger}
        self.sql(
            "INSERT INTO schedules (id, store, job_state, generation, next_run_time)"
            " VALUES (:id, 'maintenance', CAST(:state AS jsonb), 1, :first)",
            id=schedule_id,
            state=json.dumps(state),
            first=first.timestamp(),
        )

    def advance(self, schedule_id: str, to: datetime) -> None:
        self.sql("UPDATE schedules SET next_run_time = :to WHERE id = :id", id=schedule_id, to=to.timestamp())

    def fire(self, name: str, schedule_id: str, due_at: datetime, **columns: Any) -> UUID:
        return self.done(name, schedule_id=schedule_id, schedule_generation=1, due_at=due_at, **columns)
