"""Triggers, as the schedules' specs say them."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_svc.rows import from_epoch, to_epoch
from scheduler_svc.triggers import make_trigger
from shared.core.schedule import DateTrigger, IntervalTrigger

NOW = datetime(2030, 1, 1, 12, 0, 0, 123457, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (None, NOW + timedelta(minutes=5)),
        (NOW + timedelta(hours=1), NOW + timedelta(hours=1)),
        (NOW - timedelta(minutes=7), NOW + timedelta(minutes=3)),
        (NOW, NOW + timedelta(minutes=5)),
    ],
)
def test_an_interval_first_fires_at_its_start_or_whole_intervals_after_it(
    start: datetime | None, first: datetime
) -> None:
    assert make_trigger(IntervalTrigger(every_s=300, start=start)).first(NOW) == first


def test_a_date_fires_once_also_when_it_has_passed() -> None:
    trigger = make_trigger(DateTrigger(at=NOW - timedelta(days=1)))
    assert trigger.first(NOW) == NOW - timedelta(days=1)
    assert trigger.after(NOW) is None


def test_ten_thousand_intervals_do_not_drift_by_a_microsecond() -> None:
    trigger = make_trigger(IntervalTrigger(every_s=0.1, start=NOW))
    instant = NOW
    for _ in range(10_000):
        instant = from_epoch(to_epoch(trigger.after(instant) or NOW))
    assert instant == NOW + timedelta(seconds=1000)
