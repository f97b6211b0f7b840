"""Schedules as operators see and edit them: the entry point of the command line and the API.

Synchronous: call it from a thread where there is an event loop. Every edit is one transaction with its audit record;
after it, `notify` wakes the leader, which would otherwise notice within a second.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from scheduler_svc import bulk, definitions, pausing, views
from scheduler_svc.definitions import Origin
from scheduler_svc.editing import edit_prepared, record, replacing, resuming, unknown
from scheduler_svc.triggers import make_trigger
from shared.core.errors import BadInput
from shared.core.jobspec import JobSpec
from shared.core.schedule import ScheduleSpec, ScheduleView
from shared.jobs import JOBS

#: Schedules of a page.
PAGE = 500


_FORGET = (
    text("DELETE FROM schedules WHERE id = :id"),
    text("DELETE FROM schedule_resets WHERE id = :id"),
    text("DELETE FROM pauses WHERE kind = 'schedule' AND name = :id"),
)


def _nobody() -> None:
    pass


class Schedules:
    """All methods raise BadInput where an id does not exist, or input cannot be accepted."""

    def __init__(
        self,
        engine: Engine,
        notify: Callable[[], None] = _nobody,
        jobs: Mapping[str, JobSpec[Any]] = JOBS,
    ) -> None:
        self._engine = engine
        self._notify = notify
        self._jobs = jobs

    def list(self) -> Sequence[ScheduleView]:
        """All schedules by id, also broken ones and removed ones that code defines."""
        with self._engine.begin() as connection:
            return views.read(connection)

    def page(self, *, after: str = "", limit: int = PAGE) -> Sequence[ScheduleView]:
        """The next `limit` schedules by id, as the database sorts ids; `after` is the last id of the page before.

        The last page is shorter, and ends with removed ones that code defines.
        """
        with self._engine.begin() as connection:
            return views.read_page(connection, after, limit)

    def get(self, schedule_id: str) -> ScheduleView:
        with self._engine.begin() as connection:
            found = views.read(connection, schedule_id)
        if not found:
            raise unknown(schedule_id)
        return found[0]

    def add(self, spec: ScheduleSpec, *, actor: str, replace: bool = False) -> ScheduleView:
        """Adds a schedule; with `replace`, edits the one that has this id.

        What was due before the edit is committed under the old definition. A paused schedule stays paused.
        """
        spec = spec.bound_to(self._jobs)
        if make_trigger(spec.trigger).first(self._now()) is None:
            raise BadInput(f"trigger: {spec.trigger} never fires")
        if replace and self._exists(spec.id):
            edit_prepared(self._engine, self._jobs, spec.id, replacing(self._jobs, spec, actor))
        else:
            self._insert(spec, actor)
        self._notify()
        return self.get(spec.id)

    def add_many(self, specs: Iterable[ScheduleSpec], *, actor: str) -> int:
        """Adds schedules that are new, all of them or, where one cannot be accepted, none; how many there were."""
        with _conflicts(), self._engine.begin() as connection:
            now = connection.execute(text("SELECT now()")).scalar_one()
            count = bulk.insert_many(connection, specs, self._jobs, now, actor)
        self._notify()
        return count

    def pause(self, schedule_id: str, *, actor: str, reason: str = "") -> ScheduleView:
        """No fires from now on; one that is overdue counts as missed by the pause. Pausing twice changes nothing."""
        with self._engine.begin() as connection:
            if not definitions.lock_rows(connection, [schedule_id]):
                raise unknown(schedule_id)
            if pausing.pause(connection, schedule_id, actor=actor, reason=reason):
                record(connection, actor, "paused", schedule_id, {"reason": reason})
        self._notify()
        return self.get(schedule_id)

    def resume(self, schedule_id: str, *, actor: str) -> ScheduleView:
        """Ends a pause. What was missed meanwhile becomes one skipped run that counts it.

        A one-shot whose date passed during the pause is removed: the answer has no next run time.
        """
        before = self.get(schedule_id)
        edit_prepared(self._engine, self._jobs, schedule_id, resuming(self._jobs, actor))
        self._notify()
        ended = before.model_copy(update={"paused": False, "next_run_time": None})
        return self.get(schedule_id) if self._exists(schedule_id) else ended

    def remove(self, schedule_id: str, *, actor: str) -> None:
        """Its runs stay. One that code defines stays removed until it is reset."""
        with self._engine.begin() as connection:
            rows = definitions.lock_rows(connection, [schedule_id])
            if not rows:
                raise unknown(schedule_id)
            if rows[0].version is not None:
                connection.execute(
                    text(
                        "INSERT INTO schedule_removals (id, store, actor) VALUES (:id, :store, :actor)"
                        " ON CONFLICT (id) DO UPDATE SET actor = excluded.actor, removed_at = now()"
                    ),
                    {"id": schedule_id, "store": rows[0].store, "actor": actor},
                )
            for sql in _FORGET:
                connection.execute(sql, {"id": schedule_id})
            record(connection, actor, "removed", schedule_id, {"job_state": rows[0].job_state})
        self._notify()

    def reset(self, schedule_id: str, *, actor: str) -> None:
        """Asks the leader to restore what code defines: an operator's edit, pause or removal is dropped.

        The leader does so within a second, or at the start of the next term.
        """
        view = self.get(schedule_id)
        if view.source != "code" and not self._was_removed(schedule_id):
            raise BadInput(f"schedule {schedule_id}: is not defined by code, so there is nothing to reset to")
        if view.paused:
            self.resume(schedule_id, actor=actor)
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO schedule_resets (id, actor) VALUES (:id, :actor) ON CONFLICT (id) DO NOTHING"
                ),
                {"id": schedule_id, "actor": actor},
            )
            record(connection, actor, "reset", schedule_id)
        self._notify()

    def preview(self, schedule: ScheduleSpec | str, count: int = 5) -> Sequence[datetime]:
        """The next fires of a schedule, or of one that is not added yet; fewer where the trigger ends.

        For a paused schedule, what they would be if it were resumed now.
        """
        now = self._now()
        if isinstance(schedule, ScheduleSpec):
            trigger = make_trigger(schedule.trigger)
            upcoming = trigger.first(now)
        else:
            view = self.get(schedule)
            if view.trigger is None or view.broken:
                raise BadInput(f"schedule {schedule}: cannot be read ({view.broken or 'removed'})")
            trigger = make_trigger(view.trigger)
            upcoming = view.next_run_time or trigger.first(now)
        fires: list[datetime] = []
        while upcoming is not None and len(fires) < count:
            fires.append(upcoming)
            upcoming = trigger.after(upcoming)
        return fires

    def job_and_args(self, schedule_id: str) -> tuple[str, dict[str, JsonValue]]:
        """What a manual run of it needs."""
        view = self.get(schedule_id)
        if view.job is None:
            raise BadInput(f"schedule {schedule_id}: cannot be read ({view.broken or 'removed'})")
        return view.job, view.args

    def _now(self) -> datetime:
        with self._engine.begin() as connection:
            now: datetime = connection.execute(text("SELECT now()")).scalar_one()
        return now

    def _exists(self, schedule_id: str) -> bool:
        with self._engine.begin() as connection:
            query = text("SELECT FROM schedule_ids WHERE id = :id")
            return connection.execute(query, {"id": schedule_id}).first() is not None

    def _was_removed(self, schedule_id: str) -> bool:
        with self._engine.begin() as connection:
            query = text("SELECT FROM schedule_removals WHERE id = :id")
            return connection.execute(query, {"id": schedule_id}).first() is not None

    def _insert(self, spec: ScheduleSpec, actor: str) -> None:
        with _conflicts(), self._engine.begin() as connection:
            now = connection.execute(text("SELECT now()")).scalar_one()
            definitions.insert(connection, spec, Origin(), now)
            record(connection, actor, "added", spec.id, spec.model_dump(mode="json"))


@contextmanager
def _conflicts() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        taken = re.search(r"schedule_ids.*\(id\)=\(([^)]*)\)", str(error.orig), re.DOTALL)
        if taken is None:
            raise
        raise BadInput(
            f"id: there is a schedule {taken[1]} already; edit it with --replace, or choose another id"
        ) from None
