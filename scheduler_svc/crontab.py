"""crontab(5) as an APScheduler trigger.

0 and 7 are Sunday; day-of-month OR day-of-week where neither begins with a star. When clocks change, a fixed time that
comes twice fires once, and one that is left out fires at the first instant after the gap; what runs by the minute or
hour (a star) follows real time. APScheduler's own CronTrigger differs in all of it.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim, CronSimError

from shared.core.errors import BadInput
from shared.core.schedule import CronTrigger

#: Candidates at or before the previous fire come from clock changes only, a few of them at most.
_MOST_CANDIDATES = 10_000
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


class CrontabTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Only ever moves forward: the fire after `previous` is later than it, in UTC."""

    __slots__ = ("_starred", "_zone", "spec")

    def __init__(self, spec: CronTrigger) -> None:
        self.spec = spec
        self._zone = None if spec.zone == "UTC" else ZoneInfo(spec.zone)
        minute, hour = spec.expression.split()[:2]
        self._starred = minute.startswith("*") or hour.startswith("*")
        try:
            CronSim(spec.expression, _ANY_TIME)
        except (CronSimError, ValueError) as error:  # the latter: a number of thousands of digits
            raise BadInput(f"expression: {spec.expression[:100]!r} cannot be read: {error}") from None

    @property
    def period(self) -> timedelta | None:
        return None

    def after(self, previous: datetime) -> datetime | None:
        if self._zone is None:
            return next(CronSim(self.spec.expression, previous), None)
        if self._starred:
            return self._after_in_real_time(previous, self._zone)
        for number, candidate in enumerate(CronSim(self.spec.expression, previous.astimezone(self._zone))):
            instant: datetime = candidate.astimezone(UTC)
            if instant > previous:
                return instant
            if number > _MOST_CANDIDATES:
                break
        return None

    def _after_in_real_time(self, previous: datetime, zone: ZoneInfo) -> datetime | None:
        """Walks the wall clock from one clock change to the next; cronsim's own walk by hours misses fires in zones that
        shift by half an hour."""
        start = previous
        while True:
            offset = _offset(start, zone)
            wall = next(CronSim(self.spec.expression, (start + offset).replace(tzinfo=None)), None)
            if wall is None:
                return None
            instant = wall.replace(tzinfo=UTC) - offset
            change = _next_change(start, instant, zone)
            if change is None:
                return instant
            wall = (change + _offset(change, zone)).replace(tzinfo=None)
            if next(CronSim(self.spec.expression, wall - _SECOND), None) == wall:
                return change  # a fire that is due at the change itself
            start = change

    def first(self, now: datetime) -> datetime | None:
        return self.after(now)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.after(now if previous_fire_time is None else max(previous_fire_time, now))

    def __str__(self) -> str:
        return f"crontab[{self.spec}]"


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _next_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The first second after `start`, and not after `end`, with another offset than `start` has; None for none."""
    offset, low = _offset(start, zone), start.replace(microsecond=0)
    while low < end:
        high = min(low + _DAY, end)
        if _offset(high, zone) != offset:
            while high - low > _SECOND:
                middle = low + ((high - low) // 2 // _SECOND) * _SECOND
                low, high = (low, middle) if _offset(middle, zone) != offset else (middle, high)
            return high
        low = high
    return None
