"""Nights in which the clocks change, and the written policy (docs/schedules.md), fire by fire.

A time in the doubled hour fires once, at its first coming; one in the missing hour at the first instant after it, once however
many of them there are; what a star makes run by the minute or the hour follows real time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

#: By day, the wall clock's times of that day's fires, each with its offset from UTC.
Fires = Mapping[str, str]


@dataclass(frozen=True)
class Night:
    """`live`: moments that somebody is awake for; of `fires`, by crontab expression, they are those of the day `of`.
    `before` and `after`: a time without a leader."""

    zone: str
    of: str
    live: str
    before: str
    after: str
    fires: Mapping[str, Fires]

    def moments(self) -> Sequence[datetime]:
        return list(_instants({self.of: self.live}))

    def fires_of(self, expression: str) -> Sequence[datetime]:
        """All of them."""
        return list(_instants(self.fires[expression]))

    def live_fires_of(self, expression: str) -> Sequence[datetime]:
        """Those from the first live moment on, until the last one."""
        first, *_, last = self.moments()
        return [fire for fire in self.fires_of(expression) if first <= fire <= last]

    def as_read(self, instants: Sequence[datetime]) -> list[str]:
        """How they read on the wall clock there."""
        return [f"{each.astimezone(ZoneInfo(self.zone)):%d %H:%M%z}" for each in instants]


def _instants(days: Fires) -> Iterator[datetime]:
    for day, times in days.items():
        for time in times.split():
            yield datetime.fromisoformat(f"{day}T{time}").astimezone(UTC)


#: 02:00 becomes 03:00.
BERLIN_GAP: Final = Night(
    zone="Europe/Berlin",
    of="2030-03-31",
    live="01:30+01:00 03:00+02:00 03:30+02:00",
    before="2030-03-30T00:00+01:00",
    after="2030-04-01T12:00+02:00",
    fires={
        "30 2 * * *": {
            "2030-03-30": "02:30+01:00",
            "2030-03-31": "03:00+02:00",
            "2030-04-01": "02:30+02:00",
        },
        "15,45 2 * * *": {
            "2030-03-30": "02:15+01:00 02:45+01:00",
            "2030-03-31": "03:00+02:00",
            "2030-04-01": "02:15+02:00 02:45+02:00",
        },
        "0 2,3 * * *": {
            "2030-03-30": "02:00+01:00 03:00+01:00",
            "2030-03-31": "03:00+02:00",
            "2030-04-01": "02:00+02:00 03:00+02:00",
        },
        "*/30 1-3 * * *": {
            "2030-03-30": "01:00+01:00 01:30+01:00 02:00+01:00 02:30+01:00 03:00+01:00 03:30+01:00",
            "2030-03-31": "01:00+01:00 01:30+01:00 03:00+02:00 03:30+02:00",
            "2030-04-01": "01:00+02:00 01:30+02:00 02:00+02:00 02:30+02:00 03:00+02:00 03:30+02:00",
        },
    },
)
#: 03:00 becomes 02:00.
BERLIN_OVERLAP: Final = Night(
    zone="Europe/Berlin",
    of="2030-10-27",
    live="02:00+02:00 02:30+02:00 02:00+01:00 02:30+01:00 03:00+01:00",
    before="2030-10-26T00:00+02:00",
    after="2030-10-28T12:00+01:00",
    fires={
        "30 2 * * *": {
            "2030-10-26": "02:30+02:00",
            "2030-10-27": "02:30+02:00",
            "2030-10-28": "02:30+01:00",
        },
        "0 2 * * *": {
            "2030-10-26": "02:00+02:00",
            "2030-10-27": "02:00+02:00",
            "2030-10-28": "02:00+01:00",
        },
        "0 3 * * *": {
            "2030-10-26": "03:00+02:00",
            "2030-10-27": "03:00+01:00",
            "2030-10-28": "03:00+01:00",
        },
        "*/30 2 * * *": {
            "2030-10-26": "02:00+02:00 02:30+02:00",
            "2030-10-27": "02:00+02:00 02:30+02:00 02:00+01:00 02:30+01:00",
            "2030-10-28": "02:00+01:00 02:30+01:00",
        },
    },
)
#: By half an hour: 02:00 becomes 02:30.
LORD_HOWE_GAP: Final = Night(
    zone="Australia/Lord_Howe",
    of="2030-10-06",
    live="01:45+10:30 02:30+11:00 02:45+11:00",
    before="2030-10-05T00:00+10:30",
    after="2030-10-07T12:00+11:00",
    fires={
        "15 2 * * *": {
            "2030-10-05": "02:15+10:30",
            "2030-10-06": "02:30+11:00",
            "2030-10-07": "02:15+11:00",
        },
        "0,15,30 2 * * *": {
            "2030-10-05": "02:00+10:30 02:15+10:30 02:30+10:30",
            "2030-10-06": "02:30+11:00",
            "2030-10-07": "02:00+11:00 02:15+11:00 02:30+11:00",
        },
        "45 1,2 * * *": {
            "2030-10-05": "01:45+10:30 02:45+10:30",
            "2030-10-06": "01:45+10:30 02:45+11:00",
            "2030-10-07": "01:45+11:00 02:45+11:00",
        },
        "*/15 2 * * *": {
            "2030-10-05": "02:00+10:30 02:15+10:30 02:30+10:30 02:45+10:30",
            "2030-10-06": "02:30+11:00 02:45+11:00",
            "2030-10-07": "02:00+11:00 02:15+11:00 02:30+11:00 02:45+11:00",
        },
    },
)
#: By half an hour: 02:00 becomes 01:30.
LORD_HOWE_OVERLAP: Final = Night(
    zone="Australia/Lord_Howe",
    of="2030-04-07",
    live="01:30+11:00 01:45+11:00 01:30+10:30 01:45+10:30 02:00+10:30",
    before="2030-04-06T00:00+11:00",
    after="2030-04-08T12:00+10:30",
    fires={
        "45 1 * * *": {
            "2030-04-06": "01:45+11:00",
            "2030-04-07": "01:45+11:00",
            "2030-04-08": "01:45+10:30",
        },
        "30,45 1 * * *": {
            "2030-04-06": "01:30+11:00 01:45+11:00",
            "2030-04-07": "01:30+11:00 01:45+11:00",
            "2030-04-08": "01:30+10:30 01:45+10:30",
        },
        "0 2 * * *": {
            "2030-04-06": "02:00+11:00",
            "2030-04-07": "02:00+10:30",
            "2030-04-08": "02:00+10:30",
        },
        "*/15 1 * * *": {
            "2030-04-06": "01:00+11:00 01:15+11:00 01:30+11:00 01:45+11:00",
            "2030-04-07": "01:00+11:00 01:15+11:00 01:30+11:00 01:45+11:00 01:30+10:30 01:45+10:30",
            "2030-04-08": "01:00+10:30 01:15+10:30 01:30+10:30 01:45+10:30",
        },
    },
)
NIGHTS: Final = {
    "berlin-gap": BERLIN_GAP,
    "berlin-overlap": BERLIN_OVERLAP,
    "lord-howe-gap": LORD_HOWE_GAP,
    "lord-howe-overlap": LORD_HOWE_OVERLAP,
}
