"""An edit of one schedule: its row is locked in a state that was prepared for, whatever fires or is edited meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from scheduler_svc import definitions, pausing
from scheduler_svc.definitions import Origin
from scheduler_svc.firing import Firing
from scheduler_svc.rows import Unreadable, decode_state, decode_trigger
from shared.core.errors import BadInput
from shared.core.firing import Tally
from shared.core.jobspec import JobSpec
from shared.core.schedule import ScheduleSpec
from shared.db import audit

#: Gets the connection, the locked row, and what a pause missed.
Edit = Callable[[Connection, Any, Tally | None], None]

#: An edit that collides with fires or other edits is tried again this often.
_TRIES = 20
_BOUND_S = 5.0


class _Again(Exception):
    """The row changed between reading and locking."""


def edit_prepared(engine: Engine, jobs: Mapping[str, JobSpec[Any]], schedule_id: str, edit: Edit) -> None:
    """Calls `edit` in a transaction that holds the row: nothing is due, and what a pause missed is counted.

    Counting and firing happen outside the transaction, so the row may have changed meanwhile. Raises BadInput.
    """
    firing = Firing(engine, jobs, bound_s=_BOUND_S)
    for _ in range(_TRIES):
        before, missed = _prepare(engine, jobs, schedule_id, firing)
        try:
            with engine.begin() as connection:
                [row] = definitions.lock_rows(connection, [schedule_id]) or [None]
                if row is None or definitions.is_due(row) or _identity(row) != _identity(before):
                    raise _Again
                if not pausing.is_counted(row, missed):
                    raise _Again
                edit(connection, row, missed if isinstance(missed, Tally) else None)
                return
        except _Again:
            continue
    raise BadInput(f"schedule {schedule_id}: is being changed by somebody else; try again")


def replacing(jobs: Mapping[str, JobSpec[Any]], spec: ScheduleSpec, actor: str) -> Edit:
    """Another definition under the same id."""

    def edit(connection: Connection, row: Any, missed: Tally | None) -> None:
        pausing.settle(connection, row, missed, jobs)
        edited_by = actor if row.version is not None else None
        definitions.replace(connection, row, spec, Origin(row.version, row.settings_hash, edited_by))
        detail: dict[str, JsonValue] = {"before": row.job_state, "after": spec.model_dump(mode="json")}
        record(connection, actor, "edited", spec.id, detail)

    return edit


def resuming(jobs: Mapping[str, JobSpec[Any]], actor: str) -> Edit:
    """The end of a pause."""

    def edit(connection: Connection, row: Any, missed: Tally | None) -> None:
        if not row.paused:
            raise BadInput(f"schedule {row.id}: is not paused")
        try:
            decode_trigger(decode_state(row.job_state))
        except Unreadable as error:
            raise BadInput(f"schedule {row.id}: cannot be read ({error}); replace it, or remove it") from None
        pausing.resume(connection, row, missed, jobs)
        record(connection, actor, "resumed", row.id, {"missed": missed.count if missed else 0})

    return edit


def record(
    connection: Connection,
    actor: str,
    action: str,
    schedule_id: str,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """The edit's audit record, in its own transaction."""
    audit.record_sync(
        connection, actor=actor, action=action, kind="schedule", subject=schedule_id, detail=detail
    )


def unknown(schedule_id: str) -> BadInput:
    return BadInput(f"id: there is no schedule {schedule_id!r}")


def _prepare(
    engine: Engine, jobs: Mapping[str, JobSpec[Any]], schedule_id: str, firing: Firing
) -> tuple[Any, Tally | Unreadable | None]:
    firing.fire_all([schedule_id])
    with engine.begin() as connection:
        rows = definitions.lock_rows(connection, [schedule_id])
    if not rows:
        raise unknown(schedule_id)
    return rows[0], pausing.missed_by(rows[0], jobs)


def _identity(row: Any) -> tuple[int, float | None]:
    return row.generation, row.paused_from
