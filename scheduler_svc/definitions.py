"""Writing a schedule's definition, for those who may: an operator's edit, or the leader for what code defines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from scheduler_svc.rows import Unreadable, decode_state, decode_trigger, encode_state, from_epoch, to_epoch
from scheduler_svc.triggers import EveryTrigger, Trigger, make_trigger
from shared.core.schedule import DateTrigger, IntervalTrigger, ScheduleSpec

_COLUMNS = (
    "store, job_state, misfire_grace_s, catch_up, overlap, version, settings_hash, edited_by, next_run_time"
)
_INSERT = text(
    f"INSERT INTO schedules (id, {_COLUMNS}) VALUES (:id, :store, CAST(:job_state AS jsonb), :misfire_grace_s,"  # noqa: S608  # constants
    " :catch_up, :overlap, :version, :settings_hash, :edited_by, :next_run_time)"
)
_UPDATE = text(
    "UPDATE schedules SET store = :store, job_state = CAST(:job_state AS jsonb), misfire_grace_s = :misfire_grace_s,"
    " catch_up = :catch_up, overlap = :overlap, version = :version, settings_hash = :settings_hash,"
    " edited_by = :edited_by, next_run_time = :next_run_time, paused_from = :paused_from, broken = NULL,"
    " broken_due = NULL, updated_at = now(), generation = nextval('schedule_generations') WHERE id = :id"
)
_LOCKED = text(
    "SELECT s.*, now() AS now, EXISTS (SELECT FROM pauses p WHERE p.kind = 'schedule' AND p.name = s.id) AS paused"
    " FROM schedules s WHERE s.id = ANY (CAST(:ids AS text[])) ORDER BY s.id FOR UPDATE OF s"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who defines a schedule: code (a version, and what the settings made of it), a person, or code and then a person."""

    version: int | None = None
    settings_hash: str | None = None
    edited_by: str | None = None


def lock_rows(connection: Connection, ids: Sequence[str]) -> Sequence[Any]:
    """The schedules' rows with all their columns, `now` and `paused`; no fire moves them until the transaction ends."""
    return connection.execute(_LOCKED, {"ids": list(ids)}).all()


def insert(connection: Connection, spec: ScheduleSpec, origin: Origin, now: datetime) -> None:
    """A schedule that is new. Its id must not exist (IntegrityError)."""
    spec, trigger = with_start(spec, now)
    first = trigger.first(now)
    connection.execute(_INSERT, {**_values(spec, origin), "next_run_time": first and to_epoch(first)})


def replace(connection: Connection, row: Any, spec: ScheduleSpec, origin: Origin) -> None:
    """Gives a locked row another definition, under a new generation: a plan made from the old one is refused.

    The row must not be due (see `Firing.fire_all`), so that no fire is lost. An interval goes on from the previous fire, so
    that a definition that changes often does not put its fires off for ever. A paused schedule stays paused.
    """
    spec, upcoming = _continued(row, spec)
    epoch = None if upcoming is None else to_epoch(upcoming)
    waiting = {"next_run_time": None, "paused_from": epoch}
    running = {"next_run_time": epoch, "paused_from": None}
    connection.execute(_UPDATE, {**_values(spec, origin), **(waiting if row.paused else running)})


def is_due(row: Any) -> bool:
    return row.next_run_time is not None and row.next_run_time <= to_epoch(row.now)


def with_start(spec: ScheduleSpec, now: datetime) -> tuple[ScheduleSpec, Trigger]:
    """Intervals without a start begin now: the first fire is one interval away."""
    if isinstance(spec.trigger, IntervalTrigger) and spec.trigger.start is None:
        started = spec.trigger.model_copy(update={"start": now})
        spec = spec.model_copy(update={"trigger": started})
    return spec, make_trigger(spec.trigger)


def _continued(row: Any, spec: ScheduleSpec) -> tuple[ScheduleSpec, datetime | None]:
    """The new definition and its next fire (of a paused row: the first one that the pause drops)."""
    try:
        upcoming = _waiting_fire(row)
        old = decode_trigger(decode_state(row.job_state))
    except (Unreadable, ValueError, OverflowError, OSError):
        upcoming, old = None, None
    asked = spec.trigger
    if upcoming is not None and isinstance(old, EveryTrigger) and isinstance(asked, IntervalTrigger):
        if asked.start is None:
            started = asked.model_copy(update={"start": upcoming - old.period})
            spec = spec.model_copy(update={"trigger": started})
    elif upcoming is not None and upcoming > row.now and old is not None and old.spec == asked:
        return spec, upcoming
    spec, trigger = with_start(spec, row.now)
    if row.broken_due is not None and not isinstance(asked, DateTrigger):
        return spec, _overdue(row) or trigger.first(row.now)
    return spec, trigger.first(row.now)


def _waiting_fire(row: Any) -> datetime | None:
    epoch = row.next_run_time if row.next_run_time is not None else row.paused_from
    return None if epoch is None else from_epoch(epoch)


def _overdue(row: Any) -> datetime | None:
    """The fire that a broken row still owes: the definition that mends it starts with that."""
    try:
        return from_epoch(row.broken_due)
    except (ValueError, OverflowError, OSError):
        return None


def _values(spec: ScheduleSpec, origin: Origin) -> dict[str, Any]:
    if spec.store is None:
        raise ValueError(f"schedule {spec.id}: not bound to its job")
    return {
        "id": spec.id,
        "store": spec.store.value,
        "job_state": encode_state(spec),
        "misfire_grace_s": spec.misfire_grace_s,
        "catch_up": spec.catch_up,
        "overlap": spec.overlap.value if spec.overlap else None,
        "version": origin.version,
        "settings_hash": origin.settings_hash,
        "edited_by": origin.edited_by,
    }
