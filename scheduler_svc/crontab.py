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


class CrontabTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Only ever moves forward: the fire after `previous` is later than it, in UTC."""

    __slots__ = ("_zone", "spec")

    def __init__(self, spec: CronTrigger) -> None:
        self.spec = spec
        self._zone = ZoneInfo(spec.zone)
        try:
            CronSim(spec.expression, datetime.now(UTC))
        except CronSimError as error:
            raise BadInput(f"expression: {spec.expression!r} cannot be read: {error}") from None

    @property
    def period(self) -> timedelta | None:
        return None

    def after(self, previous: datetime) -> datetime | None:
        local = previous.astimezone(UTC if self.spec.zone == "UTC" else self._zone)
        for number, candidate in enumerate(CronSim(self.spec.expression, local)):
            instant = candidate.astimezone(UTC)
            if instant > previous:
                return instant
            if number > _MOST_CANDIDATES:
                break
        return None

    def first(self, now: datetime) -> datetime | None:
        return self.after(now)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.after(now if previous_fire_time is None else max(previous_fire_time, now))

    def __str__(self) -> str:
        return f"crontab[{self.spec}]"
