"""The run ledger's statements, as far as money needs them."""

import json
from datetime import timedelta
from itertools import chain, repeat
from typing import Any
from uuid import UUID

from tests.model.money.database import Row, Session

LIVE = ("pending", "queued", "running")


def holds(s: Session, run_id: UUID | None, attempt: int | None) -> Row | None:
    """The run, where this attempt still has it."""
    run = s.database.tables["job_runs"].get(run_id)
    return run if run is not None and run.state == "running" and run.attempt == attempt else None


def live(s: Session, run_id: UUID | None) -> bool:
    run = s.database.tables["job_runs"].get(run_id)
    return run is not None and run.state in LIVE


def fence(s: Session, p: Row) -> list[Row]:
    run = holds(s, p.run_id, p.attempt)
    return [] if run is None else [Row(cancel_requested=run.cancel_requested)]


def finish(s: Session, p: Row) -> list[Row]:
    ended = []
    # A row without a state is a success with nothing to tell.
    told = zip(p.states, p.delays, p.run_ats, p.free, p.errors, strict=True)
    decided = chain(told, repeat(("succeeded", 0.0, None, False, None)))
    for run_id, attempt, (state, delay, run_at, free, error) in zip(p.ids, p.attempts, decided, strict=False):
        run = holds(s, run_id, attempt)
        if run is None:
            continue
        due = run_at or s.database.stage.now + timedelta(seconds=delay)
        s.put(run, state=state, lease_until=None, error=error, max_attempts=run.max_attempts + bool(free))
        s.put(run, run_at=due if state == "pending" else run.run_at)
        ended.append(Row(id=run_id))
    return ended


def enqueue(s: Session, p: Row) -> list[Row]:
    made = []
    for args, key, run_at in zip(p.args, p.keys, p.run_ats, strict=True):
        if key is not None and s.database.rows("job_runs", job=p.job, key=key):
            made.append(Row(id=None, key=key, due=False))
            continue
        run = new_run(s, p.job, json.loads(args), key=key, run_at=run_at, max_attempts=p.max_attempts)
        made.append(Row(id=run.id, key=key, due=True))
    return made


def new_run(s: Session, job: str, args: Any, *, max_attempts: int = 10, **columns: Any) -> Row:
    defaults = {"key": None, "due_at": None, "attempt": 0, "losses": 0, "cancel_requested": False}
    run = {**defaults, "lease_until": None, "error": None, **columns, "state": "pending"}
    run["run_at"] = run.get("run_at") or s.database.stage.now
    return s.insert("job_runs", job=job, args=args, max_attempts=max_attempts, **run)


SQL = {"finish": finish, "enqueue": enqueue, "refund_fence": fence}
