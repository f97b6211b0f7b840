"""The auditor's own reading of crontab agrees with the product's: two that were written apart."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_stack.auditor.fires import Fires
from scheduler_svc.triggers import make_trigger
from shared.core.schedule import CronTrigger

NEW_YEAR = datetime(2030, 1, 1, 0, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/7 * * * *",
        "5-20/5 */6 * * *",
        "0 9 * * 1-5",
        "30 4 1,15 * 5",
        "0 0 * jan,mar sun",
        "15 3 * * 7",
    ],
)
def test_every_fire_has_the_next_number(expression: str, zone: str) -> None:
    spec = CronTrigger(expression=expression, zone=zone)
    trigger = make_trigger(spec)
    due = trigger.first(NEW_YEAR)
    assert due is not None
    fires = Fires(spec.model_dump(mode="json"), due)
    for number in islice(range(1000), 8):
        assert fires.number_of(due) == number
        due = trigger.after(due)
        assert due is not None


@settings(max_examples=100, deadline=None)
@given(
    expression=st.sampled_from(
        [
            "30 2 * * *",
            "0,15,45 1-2 * * *",
            "0 0 * * *",
            "*/20 1-3 * * *",
            "5 * * * *",
            "59 23 * * *",
        ]
    ),
    change=st.sampled_from(
        [
            ("Europe/Berlin", datetime(2030, 3, 31, 1, tzinfo=UTC)),
            ("Europe/Berlin", datetime(2030, 10, 27, 1, tzinfo=UTC)),
            ("America/New_York", datetime(2030, 3, 10, 7, tzinfo=UTC)),
            ("America/New_York", datetime(2030, 11, 3, 6, tzinfo=UTC)),
            ("Australia/Lord_Howe", datetime(2030, 4, 6, 15, tzinfo=UTC)),
            ("Australia/Lord_Howe", datetime(2030, 10, 5, 15, 30, tzinfo=UTC)),
            ("America/Santiago", datetime(2030, 4, 7, 3, tzinfo=UTC)),  # at midnight
            ("America/Santiago", datetime(2030, 9, 8, 4, tzinfo=UTC)),
        ]
    ),
    minutes_before=st.integers(0, 27 * 60),
)
def test_they_agree_when_the_clocks_change(
    expression: str, change: tuple[str, datetime], minutes_before: int
) -> None:
    zone, instant = change
    spec = CronTrigger(expression=expression, zone=zone)
    trigger = make_trigger(spec)
    due = trigger.first(instant - timedelta(minutes=minutes_before))
    assert due is not None
    fires = Fires(spec.model_dump(mode="json"), due)
    for _ in range(3):
        due = trigger.after(due)
        assert due is not None
    assert fires.number_of(due) == 3
