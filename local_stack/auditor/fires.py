"""When a trigger fires, worked out from its JSON anew: an audit must not ask the code that it audits."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
#: Lowest and highest value of crontab's fields; 7 is Sunday, too.
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = (
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
)


class Fires:
    """The fires of one trigger from `first` on, which is one of them."""

    def __init__(self, trigger: Mapping[str, Any], first: datetime) -> None:
        """Raises ValueError for a trigger that cannot be read, and where `first` is none of its fires."""
        self._first = first
        self.once = trigger["type"] == "date"
        match trigger["type"]:
            case "interval":
                self._period = timedelta(seconds=trigger["every_s"])
                anchor = first if trigger.get("start") is None else datetime.fromisoformat(trigger["start"])
                if (first - anchor) % self._period:
                    raise ValueError(f"{first.isoformat()} is no whole number of intervals after its start")
            case "cron":
                self._matches = _crontab(trigger["expression"], ZoneInfo(trigger.get("zone") or "UTC"))
                if not self._matches(first):
                    raise ValueError(f"{first.isoformat()} does not match {trigger['expression']!r}")
            case "date":
                if first != datetime.fromisoformat(trigger["at"]):
                    raise ValueError(f"{first.isoformat()} is not its date")
            case other:
                raise ValueError(f"no trigger is called {other!r}")

    def number_of(self, instant: datetime) -> int | None:
        """Which fire this is, the first being 0; None where it is none."""
        if self.once or instant < self._first:
            return 0 if instant == self._first else None
        if hasattr(self, "_period"):
            number, rest = divmod(instant - self._first, self._period)
            return None if rest else number
        return self.until(instant) - 1 if self._matches(instant) else None

    def until(self, instant: datetime) -> int:
        """How many fires there are until then, that moment included."""
        if self.once or instant < self._first:
            return int(instant >= self._first)
        if hasattr(self, "_period"):
            return (instant - self._first) // self._period + 1
        minutes = (instant - self._first) // _MINUTE
        return sum(self._matches(self._first + _MINUTE * n) for n in range(minutes + 1))


def _crontab(expression: str, zone: ZoneInfo) -> Callable[[datetime], bool]:
    """Whether an instant is a fire. Where clocks change (docs/schedules.md), what begins with a star for minute or hour follows
    real time; any other time fires once at its first coming, and one that is left out at the first instant after the gap."""
    fields = [_field(text, number) for number, text in enumerate(expression.split())]
    minutes, hours, days, months, weekdays = fields
    minute, hour, day_of_month, _, day_of_week = expression.split()
    by_either = not (day_of_month.startswith("*") or day_of_week.startswith("*"))
    in_real_time = zone.key == "UTC" or minute.startswith("*") or hour.startswith("*")

    def named(wall: datetime) -> bool:
        weekday = wall.isoweekday() % 7
        day, week = wall.day in days, weekday in weekdays or (weekday == 0 and 7 in weekdays)
        return (
            wall.minute in minutes
            and wall.hour in hours
            and wall.month in months
            and (day or week if by_either else day and week)
        )

    def matches(instant: datetime) -> bool:
        instant = instant.astimezone(UTC)
        if instant.second or instant.microsecond:
            return False
        wall = instant.astimezone(zone)
        if in_real_time:
            return named(wall)
        minute_before = (instant - _MINUTE).astimezone(zone)
        left_out = (wall.replace(tzinfo=None) - minute_before.replace(tzinfo=None)) // _MINUTE
        return not wall.fold and any(named(wall - _MINUTE * n) for n in range(max(1, left_out)))

    return matches


def _field(text: str, number: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, high = _RANGES[number]
        if span != "*":
            begin, _, end = span.partition("-")
            low = _value(begin, number)
            high = _value(end, number) if end else (high if step else low)
        values.update(range(low, high + 1, int(step or 1)))
    return frozenset(values)


def _value(word: str, number: int) -> int:
    names = _NAMES[number - 3] if number >= 3 else []
    if word[:3].lower() in names:
        return names.index(word[:3].lower()) + (1 if number == 3 else 0)
    return int(word)
