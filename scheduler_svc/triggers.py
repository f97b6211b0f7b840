"""Trigger specs as APScheduler triggers that can also be counted (`shared.core.firing.FireTimes`)."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.triggers.date import DateTrigger as ApschedulerDate
from apscheduler.triggers.interval import IntervalTrigger as ApschedulerInterval

from scheduler_svc.crontab import CrontabTrigger
from shared.core.firing import FireTimes
from shared.core.schedule import CronTrigger, DateTrigger, IntervalTrigger, TriggerSpec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trigger(FireTimes, Protocol):
    spec: TriggerSpec

    def first(self, now: datetime) -> datetime | None:
        """The first fire of a schedule that is made at `now`."""


class EveryTrigger(ApschedulerInterval):  # type: ignore[misc]  # APScheduler ships no types
    """Exact to the microsecond: the next fire is the previous one plus the interval, whatever the delay."""

    __slots__ = ("spec",)

    def __init__(self, spec: IntervalTrigger) -> None:
        super().__init__(seconds=spec.every_s, start_date=spec.start or _EPOCH, timezone=UTC)
        self.spec = spec

    @property
    def period(self) -> timedelta:
        return timedelta(seconds=self.spec.every_s)

    def after(self, previous: datetime) -> datetime:
        return previous + self.period

    def first(self, now: datetime) -> datetime:
        start = self.spec.start or now
        if start > now:
            return start
        return start + self.period * ((now - start) // self.period + 1)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return self.first(now) if previous_fire_time is None else self.after(previous_fire_time)


class OnceTrigger(ApschedulerDate):  # type: ignore[misc]  # APScheduler ships no types
    __slots__ = ("spec",)

    def __init__(self, spec: DateTrigger) -> None:
        super().__init__(run_date=spec.at, timezone=UTC)
        self.spec = spec

    @property
    def period(self) -> timedelta | None:
        return None

    def after(self, previous: datetime) -> datetime | None:
        return None

    def first(self, now: datetime) -> datetime:
        return self.spec.at


def make_trigger(spec: TriggerSpec) -> Trigger:
    """Raises BadInput for a crontab expression that cannot be read."""
    match spec:
        case IntervalTrigger():
            return EveryTrigger(spec)
        case CronTrigger():
            return CrontabTrigger(spec)
        case DateTrigger():
            return OnceTrigger(spec)
