"""Reading schedules the way an operator wants to see them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from scheduler_svc.rows import Unreadable, decode_state, decode_trigger, from_epoch
from shared.core.schedule import JobState, LastRun, ScheduleView

#: The page comes first, then what belongs to its rows: else the joins are made for all of a million schedules.
_QUERY = text(
    "SELECT s.*, p.name IS NOT NULL AS paused, p.actor AS paused_by, p.reason AS pause_reason, x.id IS NOT NULL AS resetting,"
    "  r.id AS run_id, r.state, r.due_at, r.enqueued_at, r.finished_at"
    " FROM (SELECT * FROM schedules WHERE (CAST(:id AS text) IS NULL OR id = CAST(:id AS text)) AND id > CAST(:after AS text)"
    "       ORDER BY id LIMIT CAST(:most AS int)) s"
    " LEFT JOIN pauses p ON p.kind = 'schedule' AND p.name = s.id"
    " LEFT JOIN schedule_resets x ON x.id = s.id"
    " LEFT JOIN LATERAL (SELECT j.* FROM job_runs j WHERE j.schedule_id = s.id ORDER BY j.enqueued_at DESC, j.due_at DESC LIMIT 1)"
    "  r ON true"
    " ORDER BY s.id"
)
_REMOVED = text(
    "SELECT m.id, m.store, m.actor, m.removed_at, x.id IS NOT NULL AS resetting FROM schedule_removals m"
    " LEFT JOIN schedule_resets x ON x.id = m.id"
    " WHERE (CAST(:id AS text) IS NULL OR m.id = CAST(:id AS text))"
    "   AND NOT EXISTS (SELECT FROM schedule_ids i WHERE i.id = m.id) ORDER BY m.id"
)


def read(connection: Connection, schedule_id: str | None = None) -> Sequence[ScheduleView]:
    """All schedules, or the one with this id, by id."""
    rows = connection.execute(_QUERY, {"id": schedule_id, "after": "", "most": None}).all()
    removed = connection.execute(_REMOVED, {"id": schedule_id}).all()
    views = [_view(row) for row in rows] + [_removed(row) for row in removed]
    return sorted(views, key=lambda view: view.id)


def read_page(connection: Connection, after: str, limit: int) -> Sequence[ScheduleView]:
    """Schedules in the database's order of ids, from the one after `after`. Removed ones come after the last."""
    views = [_view(row) for row in connection.execute(_QUERY, {"id": None, "after": after, "most": limit})]
    if len(views) < limit:
        views += [_removed(row) for row in connection.execute(_REMOVED, {"id": None})]
    return views


def _view(row: Any) -> ScheduleView:
    state: JobState | None = None
    broken: str | None = row.broken
    upcoming = None
    try:
        state = decode_state(row.job_state)
        decode_trigger(state)
        upcoming = None if row.next_run_time is None else from_epoch(row.next_run_time)
    except (Unreadable, ValueError, OverflowError, OSError) as error:
        broken = broken or str(error)
    last = None
    if row.run_id is not None:
        last = LastRun(
            id=row.run_id,
            state=row.state,
            due_at=row.due_at,
            enqueued_at=row.enqueued_at,
            finished_at=row.finished_at,
        )
    return ScheduleView(
        id=row.id,
        store=row.store,
        job=state and state.job,
        args=state.args if state else {},
        trigger=state and state.trigger,
        next_run_time=upcoming,
        generation=row.generation,
        misfire_grace_s=row.misfire_grace_s,
        catch_up=row.catch_up,
        overlap=row.overlap,
        source="operator" if row.version is None else "code",
        version=row.version,
        edited_by=row.edited_by,
        paused=row.paused,
        paused_by=row.paused_by,
        pause_reason=row.pause_reason,
        broken=broken,
        reset_requested=row.resetting,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_run=last,
    )


def _removed(row: Any) -> ScheduleView:
    return ScheduleView(
        id=row.id,
        store=row.store,
        source="code",
        removed_by=row.actor,
        reset_requested=row.resetting,
        updated_at=row.removed_at,
    )
