"""What a schedule is: a trigger bound to a job and its arguments, as values that read well as JSON.

{"type": "interval", "every_s": 300, "start": "2030-01-31T08:00:00Z"}
{"type": "cron", "expression": "0 2 * * *", "zone": "Europe/Berlin"}
{"type": "date", "at": "2030-01-31T08:00:00Z"}
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from shared.core.durations import format_duration, parse_duration
from shared.core.errors import BadInput, place
from shared.core.jobspec import JobSpec, Overlap, Queue

SHORTEST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 10 * 366 * 86400.0
CRON_MACROS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the calendar, in UTC") from None


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"is no time zone: {name!r}; one is Europe/Berlin, or UTC") from None
    return name


def _five_fields(expression: str) -> str:
    expression = " ".join(CRON_MACROS.get(expression.strip().lower(), expression).split())
    if len(expression.split()) != 5:
        raise ValueError(
            f"is {expression!r}; crontab(5) has five fields: minute hour day-of-month month day-of-week"
        )
    return expression


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=_Value)


class IntervalTrigger(_Value):
    """Every `every_s` seconds. The first fire is at `start`, or, where that has passed, a whole number of intervals
    after it; without `start`, one interval after the schedule is made."""

    type: Literal["interval"] = "interval"
    every_s: float = Field(ge=SHORTEST_INTERVAL_S, le=LONGEST_INTERVAL_S)
    start: Instant | None = None

    def __str__(self) -> str:
        return f"every {format_duration(self.every_s)}"


class CronTrigger(_Value):
    """As crontab(5) reads `expression`, on the wall clock of `zone`. Macros such as @daily are spelled out."""

    type: Literal["cron"] = "cron"
    expression: Annotated[str, AfterValidator(_five_fields)]
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def __str__(self) -> str:
        return f"{self.expression} ({self.zone})"


class DateTrigger(_Value):
    """Once. A date that has passed fires at once: late is better than never."""

    type: Literal["date"] = "date"
    at: Instant

    def __str__(self) -> str:
        return f"at {self.at.isoformat().replace('+00:00', 'Z')}"


TriggerSpec = Annotated[IntervalTrigger | CronTrigger | DateTrigger, Field(discriminator="type")]


def every(duration: str, *, start: datetime | None = None) -> IntervalTrigger:
    """`5m`, `1h30m`. Raises BadInput."""
    return _checked(IntervalTrigger, "every", {"every_s": parse_duration(duration), "start": start})


def cron(expression: str, zone: str = "UTC") -> CronTrigger:
    """Raises BadInput. What the fields may hold is checked when the schedule is added."""
    return _checked(CronTrigger, "cron", {"expression": expression, "zone": zone})


def at(when: str, zone: str = "UTC") -> DateTrigger:
    """ISO 8601; without an offset, on the wall clock of `zone`. Raises BadInput."""
    try:
        instant = datetime.fromisoformat(when.strip())
    except ValueError:
        raise BadInput(f"at: is {when!r}; a time looks like 2030-01-31T08:00:00Z") from None
    if instant.tzinfo is None:
        try:
            instant = instant.replace(tzinfo=ZoneInfo(_zone(zone)))
        except ValueError as error:
            raise BadInput(f"zone: {error}") from None
    return _checked(DateTrigger, "at", {"at": instant})


def _store(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


class ScheduleSpec(_Value):
    """A schedule as somebody asks for it. Policies that are None are the job's own, or none.

    `misfire_grace_s`: a fire later than this is skipped (default: late is better than never). `catch_up`: every missed
    fire runs, one after the other, instead of one run that stands for all.
    """

    # The length apart: a pattern that counts to 191 takes 80 ms to compile, at the start of every process.
    id: str = Field(pattern=r"^[\w.:@/+-]+$", max_length=191)
    job: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    trigger: TriggerSpec
    store: Annotated[Queue | None, BeforeValidator(_store)] = None
    misfire_grace_s: float | None = Field(default=None, gt=0)
    catch_up: bool = False
    overlap: Overlap | None = None

    @model_validator(mode="after")
    def _catching_up_queues(self) -> "ScheduleSpec":
        if self.catch_up and self.overlap not in (None, Overlap.QUEUE):
            raise ValueError("catch_up runs one fire after the other: overlap must be queue, or left out")
        return self

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "ScheduleSpec":
        """From outside (CLI, HTTP). Raises BadInput that names the field and the fix."""
        return _checked(cls, "schedule", raw)

    def bound_to(self, jobs: Mapping[str, JobSpec[Any]]) -> "ScheduleSpec":
        """With its job looked up: arguments checked and complete, store filled in. Raises BadInput."""
        job = jobs.get(self.job)
        if job is None:
            raise BadInput(f"job: there is no job {self.job!r} (there are: {', '.join(sorted(jobs))})")
        args = job.encode(job.parse(self.args))
        return self.model_copy(update={"args": args, "store": self.store or job.queue})


class JobState(_Value):
    """What a store's `job_state` column holds. Names that a newer version added are ignored."""

    job: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    trigger: TriggerSpec


class LastRun(_Value):
    id: UUID
    state: str
    due_at: datetime | None
    enqueued_at: datetime
    finished_at: datetime | None


class ScheduleView(_Value):
    """A schedule as it is now. A row that cannot be read is `broken`, and has no job, trigger or next run time.

    A schedule that code defines and an operator removed is listed too, with `removed_by`.
    """

    id: str
    store: str
    job: str | None = None
    args: dict[str, JsonValue] = Field(default_factory=dict)
    trigger: TriggerSpec | None = None
    next_run_time: datetime | None = None
    generation: int | None = None
    misfire_grace_s: float | None = None
    catch_up: bool = False
    overlap: Overlap | None = None
    source: Literal["code", "operator"] = "operator"
    version: int | None = None
    edited_by: str | None = None
    removed_by: str | None = None
    paused: bool = False
    paused_by: str | None = None
    pause_reason: str | None = None
    broken: str | None = None
    reset_requested: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_run: LastRun | None = None


def _checked(model: type[M], what: str, raw: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(dict(raw), extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = place(first["loc"]) or what
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{where}: {message[:1].lower()}{message[1:]}") from None
