"""Schedules as operators see and edit them: the entry point of the command line and the API.

Synchronous: call it from a thread where there is an event loop. Every edit is one transaction with its audit record;
after it, `notify` wakes the leader, which would otherwise notice within a second.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Engine

from shared.core.schedule import ScheduleSpec, ScheduleView


def _nobody() -> None:
    pass


class Schedules:
    """All methods raise BadInput where an id does not exist, or input cannot be accepted."""

    def __init__(self, engine: Engine, notify: Callable[[], None] = _nobody) -> None:
        self._engine = engine
        self._notify = notify

    def list(self) -> Sequence[ScheduleView]:
        """All schedules by id, also broken ones and removed ones that code defines."""
        raise NotImplementedError

    def get(self, schedule_id: str) -> ScheduleView:
        raise NotImplementedError

    def add(self, spec: ScheduleSpec, *, actor: str, replace: bool = False) -> ScheduleView:
        """Adds a schedule; with `replace`, edits the one that has this id."""
        raise NotImplementedError

    def pause(self, schedule_id: str, *, actor: str, reason: str = "") -> ScheduleView:
        raise NotImplementedError

    def resume(self, schedule_id: str, *, actor: str) -> ScheduleView:
        """Ends a pause. What was missed meanwhile becomes one skipped run that counts it."""
        raise NotImplementedError

    def remove(self, schedule_id: str, *, actor: str) -> None:
        """Its runs stay. One that code defines stays removed until it is reset."""
        raise NotImplementedError

    def reset(self, schedule_id: str, *, actor: str) -> None:
        """Asks the leader to restore what code defines: an operator's edit, pause or removal is dropped."""
        raise NotImplementedError

    def preview(self, schedule: ScheduleSpec | str, count: int = 5) -> Sequence[datetime]:
        """The next fires of a schedule, or of one that is not added yet; fewer where the trigger ends."""
        raise NotImplementedError

    def job_and_args(self, schedule_id: str) -> tuple[str, dict[str, JsonValue]]:
        """What a manual run of it needs."""
        raise NotImplementedError
