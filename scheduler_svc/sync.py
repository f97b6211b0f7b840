"""What a leader does to the stores at the start of its term: schedules that code defines, and rows that were broken."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text

from scheduler_svc import definitions, pausing
from scheduler_svc.builtin import Definition
from scheduler_svc.definitions import Origin
from scheduler_svc.firing import Firing
from scheduler_svc.rows import Unreadable, decode_job, decode_state, decode_trigger, from_epoch
from shared.core.firing import Tally
from shared.core.jobspec import JobSpec
from shared.db import audit
from shared.db.statements import statement
from shared.jobs import JOBS

log = structlog.get_logger(__name__)

#: What pauses dropped, by schedule, generation and beginning.
_Missed = Mapping[tuple[str, int, float | None], Tally | Unreadable | None]
_MOST_ROUNDS = 20
_SERVED = (
    text("DELETE FROM schedule_removals WHERE id = :id"),
    text("DELETE FROM schedule_resets WHERE id = :id"),
)
_DISOWN = text(
    "UPDATE schedules SET edited_by = NULL, settings_hash = NULL WHERE id = :id AND version IS NOT NULL"
)


def sync_definitions(
    engine: Engine,
    firing: Firing,
    wanted: Sequence[Definition],
    check_trust: Callable[[], None] = lambda: None,
) -> list[str]:
    """Rule 17; the ids that were written. `firing` is for this alone.

    Due fires are committed under the old definition first, and what a pause dropped is recorded. A lower version never overwrites; at the same version the
    leader's settings win; what an operator edited, paused or removed stays so, until it is reset.
    """
    missed: _Missed = {}
    for _ in range(_MOST_ROUNDS):
        changed, due, paused = _write(engine, wanted, missed, check_trust)
        if not due and not paused:
            return changed
        if due:
            firing.fire_all(due)
        # Outside the transaction: a pause may have dropped a year of minutes.
        missed = {_pause_of(row): pausing.missed_by(row, JOBS) for row in paused}
    raise TimeoutError(f"schedules keep coming due: {', '.join([*due, *(row.id for row in paused)])}")


def _pause_of(row: Any) -> tuple[str, int, float | None]:
    return row.id, row.generation, row.paused_from


def _write(
    engine: Engine, wanted: Sequence[Definition], missed: _Missed, check_trust: Callable[[], None]
) -> tuple[list[str], list[str], list[Any]]:
    """The ids written; of those that are to be written the ids that are due, and rows whose pause is not counted yet."""
    changed, due, paused = [], [], []
    by_id = {each.spec.id: each for each in wanted}
    with engine.begin() as connection:
        check_trust()
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('cuebx schedules'))"))
        rows = {row.id: row for row in definitions.lock_rows(connection, list(by_id))}
        removed = {row.id for row in connection.execute(text("SELECT id FROM schedule_removals"))}
        resets = {row.id for row in connection.execute(text("SELECT id FROM schedule_resets"))}
        for schedule_id, each in by_id.items():
            row, reset = rows.get(schedule_id), schedule_id in resets
            if row is None:
                if schedule_id in removed and not reset:
                    continue
                now = connection.execute(text("SELECT now()")).scalar_one()
                definitions.insert(connection, each.spec, _origin(each), now)
            elif not (reset or _outdated(row, each)):
                continue
            elif definitions.is_due(row):
                due.append(schedule_id)
                continue
            elif not pausing.is_counted(row, missed.get(_pause_of(row))):
                paused.append(row)
                continue
            else:
                pausing.settle(connection, row, missed.get(_pause_of(row)), JOBS)
                definitions.replace(connection, row, each.spec, _origin(each))
            changed.append(schedule_id)
            log.info("schedule_defined", schedule_id=schedule_id, version=each.version, reset=reset)
        _serve_resets(connection, resets - {*due, *(row.id for row in paused)}, resets - set(by_id))
        check_trust()
    return changed, due, paused


def _origin(each: Definition) -> Origin:
    return Origin(each.version, each.settings_hash)


def _outdated(row: Any, each: Definition) -> bool:
    if row.version is None or row.edited_by is not None:
        return False  # a person's
    if row.version != each.version:
        return bool(row.version < each.version)
    return bool(row.settings_hash != each.settings_hash)


def _serve_resets(connection: Connection, served: set[str], foreign: set[str]) -> None:
    """`foreign` are defined by a version other than this one: whoever has it, and leads, restores them."""
    for schedule_id in sorted(served):
        for sql in _SERVED:
            connection.execute(sql, {"id": schedule_id})
        if schedule_id in foreign:
            connection.execute(_DISOWN, {"id": schedule_id})
        audit.record_sync(connection, actor="leader", action="restored", kind="schedule", subject=schedule_id)


def mend_broken(engine: Engine, jobs: Mapping[str, JobSpec[Any]]) -> list[str]:
    """Tries rows again that were broken, once a term (rule 21); the ids of those that can be read now."""
    query = text(
        "SELECT id, generation, job_state, broken_due FROM schedules WHERE broken IS NOT NULL ORDER BY id"
    )
    with engine.begin() as connection:
        rows = connection.execute(query).all()
        readable = [row for row in rows if _readable(row, jobs)]
        if not readable:
            return []
        params = {"ids": [row.id for row in readable], "generations": [row.generation for row in readable]}
        mended = [row.id for row in connection.execute(statement("fire_mend"), params)]
    for schedule_id in mended:
        log.info("schedule_mended", schedule_id=schedule_id)
    return mended


def _readable(row: Any, jobs: Mapping[str, JobSpec[Any]]) -> bool:
    try:
        state = decode_state(row.job_state)
        decode_job(state, jobs)
        decode_trigger(state).after(from_epoch(row.broken_due))
    except (Unreadable, ValueError, OverflowError, OSError):
        return False
    return True
