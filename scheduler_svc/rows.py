"""Rows of the job stores, and what they mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue, ValidationError

from scheduler_svc.triggers import Trigger, make_trigger
from shared.core.decide import clean_text, error_text
from shared.core.jobspec import JobSpec, Overlap, describe
from shared.core.schedule import JobState, ScheduleSpec


class Unreadable(Exception):
    """A row that this version cannot restore. Its text says why: one that can be stored and shown, whatever the row holds."""

    def __init__(self, why: str) -> None:
        super().__init__(clean_text(why))


@dataclass(frozen=True, slots=True)
class DueRow:
    """A schedule that is due, as the store has it. `next_run_time` is in seconds since 1970."""

    store: str
    id: str
    next_run_time: float
    job_state: Any
    generation: int
    misfire_grace_s: float | None
    catch_up: bool
    overlap: str | None


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """The same, restored."""

    row: DueRow
    job: JobSpec[Any]
    args: Mapping[str, JsonValue]
    trigger: Trigger
    due: datetime

    @property
    def overlap(self) -> Overlap:
        """Catching up runs one fire after the other; else the schedule's own setting goes before its job's (rule 19)."""
        if self.row.catch_up:
            return Overlap.QUEUE
        return Overlap(self.row.overlap) if self.row.overlap else self.job.overlap


def from_epoch(seconds: float) -> datetime:
    """Exact to the microsecond: a double still tells them apart until the year 2242."""
    return datetime.fromtimestamp(seconds, UTC)


def to_epoch(instant: datetime) -> float:
    return instant.timestamp()


def encode_state(spec: ScheduleSpec) -> str:
    state = JobState(job=spec.job, args=spec.args, trigger=spec.trigger)
    return json.dumps(state.model_dump(mode="json"))


def decode_state(raw: object) -> JobState:
    """Raises Unreadable."""
    try:
        return JobState.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(f"job_state {where}: {first['msg']}") from None


def decode_trigger(state: JobState) -> Trigger:
    """Raises Unreadable."""
    try:
        return make_trigger(state.trigger)
    except (ValueError, ArithmeticError) as error:  # BadInput among them
        raise Unreadable(f"job_state trigger: {error}") from None


def decode_job(state: JobState, jobs: Mapping[str, JobSpec[Any]]) -> JobSpec[Any]:
    """The job of a schedule, its arguments checked against the schema. Raises Unreadable."""
    job = jobs.get(state.job)
    if job is None:
        raise Unreadable(f"no job {state.job!r} is known here")
    try:
        job.decode(state.args)
    except ValidationError as error:
        raise Unreadable(f"job {state.job}: {describe(error, job.args)}") from None
    except Exception as error:  # what a validator of the job's own raises
        raise Unreadable(f"job {state.job}: its arguments: {error_text(error)}") from None
    return job


def restore(row: DueRow, jobs: Mapping[str, JobSpec[Any]]) -> DueSchedule:
    """Raises Unreadable."""
    state = decode_state(row.job_state)
    job = decode_job(state, jobs)
    try:
        due = from_epoch(row.next_run_time)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"next_run_time {row.next_run_time} is no time") from None
    return DueSchedule(row, job, state.args, decode_trigger(state), due)
