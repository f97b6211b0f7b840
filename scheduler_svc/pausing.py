"""Pausing a schedule, and accounting for what it missed (rule 23)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from scheduler_svc.rows import Unreadable, decode_job, decode_state, decode_trigger, from_epoch, to_epoch
from shared.core.firing import Tally, count_fires, plan_paused
from shared.core.jobspec import JobSpec

_PAUSE = text(
    "INSERT INTO pauses (kind, name, reason, actor) VALUES ('schedule', :id, :reason, :actor)"
    " ON CONFLICT (kind, name) DO NOTHING RETURNING name"
)
_PARK = text(
    "UPDATE schedules SET paused_from = coalesce(next_run_time, paused_from), next_run_time = NULL, updated_at = now()"
    " WHERE id = :id"
)
_UNPAUSE = text("DELETE FROM pauses WHERE kind = 'schedule' AND name = :id RETURNING name")
_GO_ON = text(
    "UPDATE schedules SET next_run_time = :next, paused_from = NULL, updated_at = now() WHERE id = :id AND broken IS NULL"
)
_SKIPPED = text(
    "INSERT INTO job_runs (job, queue, args, priority, max_attempts, overlap, schedule_id, schedule_generation, due_at,"
    " coalesced, state, reason, finished_at) SELECT :job, :queue, job_state -> 'args', :priority, :max_attempts, 'skip',"
    " id, generation, :due_at, :coalesced, 'skipped', :reason, now() FROM schedules WHERE id = :id"
    " ON CONFLICT (schedule_id, schedule_generation, due_at) WHERE due_at IS NOT NULL DO NOTHING"
)

#: More than any pause misses: counting is not bounded here, nothing waits for it.
_NO_BUDGET = 10**12


def pause(connection: Connection, schedule_id: str, *, actor: str, reason: str) -> bool:
    """A paused schedule has no next run time; its runs that wait are held by relay and claim. False: it was paused."""
    began = connection.execute(_PAUSE, {"id": schedule_id, "reason": reason, "actor": actor}).first()
    if began is not None:
        connection.execute(_PARK, {"id": schedule_id})
    return began is not None


def count_missed(row: Any, jobs: Mapping[str, JobSpec[Any]], now: datetime) -> Tally | None:
    """The fires that the pause of a row has dropped until now; None for none. May take long: not in a transaction.

    Raises Unreadable.
    """
    if row.paused_from is None:
        return None
    state = decode_state(row.job_state)
    decode_job(state, jobs)
    try:
        first = from_epoch(row.paused_from)
        if first > now:
            return None
        return count_fires(decode_trigger(state), first, now, budget=_NO_BUDGET)[0]
    except (ValueError, OverflowError, OSError) as error:
        raise Unreadable(f"paused_from: {error}") from None


def missed_by(row: Any, jobs: Mapping[str, JobSpec[Any]]) -> Tally | Unreadable | None:
    """As `count_missed`, until the row's own now; why, where it cannot be read: an edit may be what mends it."""
    try:
        return count_missed(row, jobs, row.now)
    except Unreadable as error:
        return error


def is_counted(row: Any, missed: Tally | Unreadable | None) -> bool:
    """Whether `missed` still is all that the pause of this row, locked now, has dropped: a fire that passed since the count
    would be in no run."""
    match missed:
        case Tally(next=upcoming):
            return upcoming is None or upcoming > row.now
        case None:
            return row.paused_from is None or row.paused_from > to_epoch(row.now)
        case _:
            return True


def resume(connection: Connection, row: Any, missed: Tally | None, jobs: Mapping[str, JobSpec[Any]]) -> None:
    """Ends the pause of a locked row. What was missed becomes one skipped run; a schedule that has ended is removed."""
    connection.execute(_UNPAUSE, {"id": row.id})
    settle(connection, row, missed, jobs)
    if missed is not None and missed.next is None:
        connection.execute(text("DELETE FROM schedules WHERE id = :id"), {"id": row.id})
    elif row.paused_from is not None:
        upcoming = row.paused_from if missed is None else to_epoch(_next(missed))
        connection.execute(_GO_ON, {"id": row.id, "next": upcoming})


def settle(
    connection: Connection, row: Any, missed: Tally | Unreadable | None, jobs: Mapping[str, JobSpec[Any]]
) -> None:
    """Writes what was missed so far as one skipped run."""
    if not isinstance(missed, Tally):
        return
    job = jobs[decode_state(row.job_state).job]
    [run] = plan_paused(missed).runs
    connection.execute(
        _SKIPPED,
        {
            "id": row.id,
            "job": job.name,
            "queue": job.queue.value,
            "priority": job.priority,
            "max_attempts": job.retry.max_attempts,
            "due_at": run.due_at,
            "coalesced": run.coalesced,
            "reason": run.skipped,
        },
    )


def _next(missed: Tally) -> datetime:
    if missed.next is None:
        raise ValueError("the schedule has ended")
    return missed.next
