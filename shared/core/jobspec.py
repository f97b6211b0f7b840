"""The declaration of a job: its name, its typed arguments and its policy, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from shared.core.backoff import RetryPolicy
from shared.core.errors import BadInput, place


class Overlap(StrEnum):
    """What a schedule's fire does while an earlier run of the same schedule is not terminal."""

    SKIP = "skip"  # becomes a skipped row
    QUEUE = "queue"  # waits: the relay releases only the head, the next when it ends
    ALLOW = "allow"  # runs beside it


class Queue(StrEnum):
    REFUNDS = "refunds"
    PAYMENT_REMINDERS = "payment_reminders"
    MAINTENANCE = "maintenance"


class JobArgs(BaseModel):
    """Base of every job's arguments: JSON in, JSON out, immutable."""

    model_config = ConfigDict(frozen=True)


class NoArgs(JobArgs):
    """A job that takes nothing."""


A = TypeVar("A", bound=JobArgs)


@dataclass(frozen=True)
class JobSpec(Generic[A]):
    """One job. `priority` is 1 (first) to 9 (last) among the ready runs of a queue; `key` derives a run's unique key."""

    name: str
    args: type[A]
    queue: Queue
    description: str
    timeout: timedelta = timedelta(minutes=5)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    overlap: Overlap = Overlap.SKIP
    priority: int = 5
    key: Callable[[A], str] | None = None
    #: False: the handler heeds `lease.cancel_requested` itself, since stopping it half-way would leave money or mail unclear.
    cancellable: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.priority <= 9:
            raise ValueError(f"job {self.name}: priority is 1 to 9, not {self.priority}")

    def parse(self, raw: Mapping[str, Any]) -> A:
        """Arguments from outside (CLI, HTTP, schedules): unknown names are refused.

        Raises BadInput that names the first field and what is wrong with it.
        """
        try:
            return self.args.model_validate(dict(raw), extra="forbid")
        except ValidationError as error:
            raise BadInput(f"job {self.name}: {describe(error, self.args)}") from None

    def decode(self, raw: Any) -> A:
        """Arguments from the ledger. Names this version does not know are ignored: a newer enqueuer may have added them.

        Raises pydantic.ValidationError.
        """
        return self.args.model_validate(raw, extra="ignore")

    def encode(self, args: A) -> dict[str, JsonValue]:
        """Arguments as JSON."""
        dumped: dict[str, JsonValue] = args.model_dump(mode="json")
        return dumped


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a validation as one line: the field, what is wrong, what there is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = place(first["loc"]) or "arguments"
    if first["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return f"unknown argument {where!r} (it takes: {known})"
    return f"argument {where!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
