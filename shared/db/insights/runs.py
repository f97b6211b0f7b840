"""Runs, as they are, and what was decided about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import text

from shared.core.states import RunState
from shared.db.ledger import Executor


@dataclass(frozen=True, slots=True)
class RunView:
    """A row of the ledger, as it is."""

    id: UUID
    job: str
    queue: str
    args: dict[str, JsonValue]
    state: RunState
    priority: int
    key: str | None
    schedule_id: str | None
    schedule_generation: int | None
    due_at: datetime | None
    coalesced: int
    overlap: str
    run_at: datetime
    attempt: int
    max_attempts: int
    losses: int
    worker: str | None
    lease_until: datetime | None
    cancel_requested: bool
    error: str | None
    reason: str | None
    result: JsonValue
    enqueued_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditView:
    """What a person, or the system for itself, decided."""

    at: datetime
    actor: str
    action: str
    detail: dict[str, JsonValue]


_COLUMNS = ", ".join(RunView.__dataclass_fields__)


async def list_runs(
    db: Executor,
    *,
    states: Sequence[RunState] = (),
    job: str | None = None,
    schedule: str | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> list[RunView]:
    """The newest runs first; `before` is the last id of the page before."""
    conditions, params = ["true"], dict[str, Any](limit=limit)
    if states:
        conditions.append("state = ANY (CAST(:states AS text[]))")
        params["states"] = [state.value for state in states]
    for name, value in (("job", job), ("schedule_id", schedule)):
        if value is not None:
            conditions.append(f"{name} = :{name}")
            params[name] = value
    if before is not None:
        conditions.append("id < CAST(:before AS uuid)")
        params["before"] = before
    where = " AND ".join(conditions)
    sql = f"SELECT {_COLUMNS} FROM job_runs WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608  # fixed texts
    return await _runs(db, sql, params)


async def show_run(db: Executor, run_id: UUID) -> RunView | None:
    """One run, or None."""
    sql = f"SELECT {_COLUMNS} FROM job_runs WHERE id = CAST(:id AS uuid)"  # noqa: S608  # fixed texts
    found = await _runs(db, sql, {"id": run_id})
    return found[0] if found else None


async def audit_of(db: Executor, kind: str, subject: object) -> list[AuditView]:
    """Decisions about one subject, oldest first."""
    sql = text(
        "SELECT at, actor, action, detail FROM audit_log"
        " WHERE subject_kind = :kind AND subject_id = :id ORDER BY at, id LIMIT 1000"
    )
    return [AuditView(*row) for row in await db.execute(sql, {"kind": kind, "id": str(subject)})]


async def recent_runs(db: Executor, *, since_s: float, most: int) -> list[RunView]:
    """Runs that were enqueued or ended within the last `since_s` seconds, and those that run; at most `most` of each,
    oldest first. Called again and again it shows every change of a ledger that is not too busy to read."""
    sql = f"""
        SELECT {_COLUMNS} FROM job_runs WHERE id IN (
          (SELECT id FROM job_runs WHERE id >= CAST(:floor AS uuid) ORDER BY id DESC LIMIT :most)
          UNION (SELECT id FROM job_runs WHERE state = 'running' ORDER BY lease_until DESC LIMIT :most)
          UNION (SELECT id FROM job_runs WHERE state IN ('succeeded', 'dead', 'cancelled', 'skipped')
                 AND finished_at >= now() - make_interval(secs => :since) ORDER BY finished_at DESC LIMIT :most))
        ORDER BY coalesce(finished_at, started_at, enqueued_at), id"""  # noqa: S608  # fixed texts
    now = (await db.execute(text("SELECT extract(epoch FROM now()) * 1000"))).scalar_one()
    return await _runs(
        db, sql, {"floor": _first_id(int(now) - int(since_s * 1000)), "since": since_s, "most": most}
    )


async def _runs(db: Executor, sql: str, params: dict[str, Any]) -> list[RunView]:
    rows = await db.execute(text(sql), params)
    return [RunView(**{**row._mapping, "state": RunState(row.state)}) for row in rows]


def _first_id(milliseconds: int) -> UUID:
    """The smallest id that the ledger can have given at this time (they begin with it)."""
    return UUID(int=max(0, milliseconds) << 80)
