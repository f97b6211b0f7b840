"""What a handler returns (an outcome, as a value) and what becomes of its run (a decision, as a value)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from shared.core.states import RunState


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done. `result` is a small JSON object that is kept with the run."""

    result: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, at the cost of this attempt. Without `when`, after the job's backoff.

    `when` is an instant, or a delay from the database's now.
    """

    error: str
    when: datetime | timedelta | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not yet: run again at `when`, without costing an attempt."""

    when: datetime | timedelta
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """There is nothing (more) to do, and there never will be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The handler has recorded its outcome itself, in the transaction of its own writes (`JobContext.complete`)."""


Outcome = Done | Retry | Snooze | Cancel | Recorded


class Decision(NamedTuple):
    """What the ledger writes for a run that was claimed.

    `run_at` or `delay_s` (from the database's now) hold for `pending` only. `free` gives the attempt back: the fence is
    never lowered, so `max_attempts` rises by one instead (rule 4).
    """

    state: RunState
    delay_s: float = 0.0
    run_at: datetime | None = None
    free: bool = False
    error: str | None = None
    result: Mapping[str, JsonValue] | None = None
