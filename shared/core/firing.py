"""What becomes of a schedule that is due: count its fires, then decide which of them run (rules 19 and 20).

Counting may take long (a year of minutes is half a million fires), so it happens in portions: `count_fires` takes a
budget and returns a tally to go on from. Only a complete tally becomes a plan, and only a plan is written.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

#: With catch-up this many of the latest fires run; what lies before them becomes one skipped run.
CATCH_UP_BOUND = 1000

MISFIRE = "misfire"
BEYOND_CATCH_UP = "beyond_catch_up"
PAUSED = "paused"


class FireTimes(Protocol):
    """When a trigger fires. Instants are in UTC."""

    @property
    def period(self) -> timedelta | None:
        """The distance between any two fires, where it is always the same: counting is arithmetic then."""

    def after(self, previous: datetime) -> datetime | None:
        """The fire that follows the one at `previous`; None where that was the last."""


class TriggerStuck(Exception):
    """A trigger gave a fire that is not after the previous one."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Fires from `first` to `last`, both included. `recent` are the latest of them, oldest first.

    `next` is the fire after `last`, None where there is none; `complete` says that it is in the future.
    """

    first: datetime
    last: datetime
    count: int
    recent: tuple[datetime, ...]
    next: datetime | None
    complete: bool


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to insert. `due_at` is the latest fire it stands for, `coalesced` the number of earlier ones.

    `skipped` is the reason for which it does not run.
    """

    due_at: datetime
    coalesced: int = 0
    skipped: str | None = None

    @property
    def fires(self) -> int:
        return 1 + self.coalesced


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs, oldest first, and the schedule's next run time (None: it has ended)."""

    runs: tuple[PlannedRun, ...]
    next: datetime | None


def count_fires(
    times: FireTimes,
    due: datetime,
    now: datetime,
    *,
    keep: int = 1,
    budget: int,
    so_far: Tally | None = None,
) -> tuple[Tally, int]:
    """Counts the fires from `due` until `now`, at most `budget` of them where counting is a walk; also what it cost.

    `due` is a fire, and not after `now`. `keep` of the latest are kept one by one. `now` may be later than it was for
    `so_far`; one that is earlier (the database's clock was set back) takes nothing back.
    """
    if times.period is not None:
        return _count_periods(times.period, due, max(now, due), keep), 1
    tally = so_far or Tally(due, due, 1, (due,), _following(times, due), False)
    last, count, upcoming = tally.last, tally.count, tally.next
    recent = list(tally.recent)
    cost = 0 if so_far else 1
    while upcoming is not None and upcoming <= now and cost < budget:
        last, count = upcoming, count + 1
        recent.append(last)
        if len(recent) > 2 * keep:
            del recent[:-keep]
        upcoming = _following(times, last)
        cost += 1
    complete = upcoming is None or upcoming > now
    return Tally(tally.first, last, count, tuple(recent[-keep:]), upcoming, complete), cost


def _count_periods(period: timedelta, due: datetime, now: datetime, keep: int) -> Tally:
    count = (now - due) // period + 1
    recent = tuple(due + period * n for n in range(max(0, count - keep), count))
    return Tally(due, recent[-1], count, recent, recent[-1] + period, True)


def _following(times: FireTimes, previous: datetime) -> datetime | None:
    upcoming = times.after(previous)
    if upcoming is not None and upcoming <= previous:
        raise TriggerStuck(f"the trigger gave {upcoming.isoformat()} after {previous.isoformat()}")
    return upcoming


def kept_for(*, catch_up: bool) -> int:
    """How many fires a tally must keep for `plan_fires`: with catch-up the bound, and the one before it."""
    return CATCH_UP_BOUND + 1 if catch_up else 1


def plan_fires(tally: Tally, now: datetime, *, catch_up: bool, misfire_grace_s: float | None) -> Plan:
    """Every fire of a complete tally is in exactly one run of the plan: Σ(1 + coalesced) = count.

    Coalescing, the latest fire stands for all; later than the grace, as a skipped run. Catching up, each of the latest
    fires runs that is within the grace and the bound; one skipped run stands for those before them.
    """
    if not tally.complete:
        raise ValueError("the fires are not counted yet")
    grace = None if misfire_grace_s is None else timedelta(seconds=misfire_grace_s)

    def too_late(fire: datetime) -> bool:
        return grace is not None and now - fire > grace

    if not catch_up:
        reason = MISFIRE if too_late(tally.last) else None
        return Plan((PlannedRun(tally.last, tally.count - 1, reason),), tally.next)
    in_time = [fire for fire in tally.recent if not too_late(fire)]
    running = in_time[-CATCH_UP_BOUND:]
    dropped = tally.count - len(running)
    runs = [PlannedRun(fire) for fire in running]
    if dropped:
        last_dropped = tally.recent[-len(running) - 1]
        reason = MISFIRE if too_late(last_dropped) else BEYOND_CATCH_UP
        runs.insert(0, PlannedRun(last_dropped, dropped - 1, reason))
    return Plan(tuple(runs), tally.next)


def plan_paused(tally: Tally) -> Plan:
    """What a pause dropped, as one skipped run that counts it (rule 23)."""
    return Plan((PlannedRun(tally.last, tally.count - 1, PAUSED),), tally.next)
