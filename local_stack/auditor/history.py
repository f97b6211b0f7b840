"""Everything that an audit reads from the database, read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from local_stack.auditor import recorder

_RUNS = """
SELECT r.*, EXISTS (
    SELECT FROM pauses p WHERE (p.kind = 'queue' AND p.name = r.queue) OR (p.kind = 'job' AND p.name = r.job)
      OR (p.kind = 'schedule' AND p.name = r.schedule_id)) AS paused
FROM job_runs r ORDER BY r.id"""
_REMINDERS = """
SELECT p.*, coalesce(i.customer_id, p.customer_id) AS owner
FROM payment_reminders p LEFT JOIN invoices i ON i.id = p.invoice_id ORDER BY p.id"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the flight recorder kept, oldest first (see `recorder.sql`)."""

    run_steps: Sequence[Any]
    schedule_steps: Sequence[Any]
    writes: Sequence[Any]


@dataclass(frozen=True, slots=True)
class History:
    """The tables' rows, and `now` by PostgreSQL's clock. `recorded` is None where nobody recorded."""

    now: datetime
    runs: Sequence[Any]
    schedules: Sequence[Any]
    refunds: Sequence[Any]
    attempts: Sequence[Any]
    invoices: Sequence[Any]
    reminders: Sequence[Any]
    batches: Sequence[Any]
    events: Sequence[Any]
    audit: Sequence[Any]
    recorded: Recorded | None


def read(connection: Connection) -> History:
    """Reads in the caller's transaction."""

    def rows(sql: str) -> Sequence[Any]:
        return connection.execute(text(sql)).all()

    def steps(table: str) -> Sequence[Any]:
        return rows(f"SELECT * FROM auditor.{table} ORDER BY n")  # noqa: S608  # our own names

    recorded = None
    if recorder.is_installed(connection):
        recorded = Recorded(steps("run_steps"), steps("schedule_steps"), steps("writes"))
    return History(
        now=connection.execute(text("SELECT clock_timestamp()")).scalar_one(),
        runs=rows(_RUNS),
        schedules=rows("SELECT * FROM schedules ORDER BY id"),
        refunds=rows("SELECT * FROM refunds ORDER BY id"),
        attempts=rows("SELECT * FROM refund_attempts ORDER BY id"),
        invoices=rows("SELECT * FROM invoices ORDER BY id"),
        reminders=rows(_REMINDERS),
        batches=rows("SELECT * FROM reminder_batches ORDER BY id"),
        events=rows("SELECT * FROM webhook_events ORDER BY provider, event_id"),
        audit=rows("SELECT * FROM audit_log ORDER BY at, id"),
        recorded=recorded,
    )
