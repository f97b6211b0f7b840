"""crontab(5), clock changes included."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_svc.crontab import CrontabTrigger
from shared.core.errors import BadInput
from shared.core.schedule import CronTrigger


def _fires(expression: str, zone: str, start: str, count: int) -> list[str]:
    trigger = CrontabTrigger(CronTrigger(expression=expression, zone=zone))
    local = ZoneInfo(zone)
    fires, previous = [], datetime.fromisoformat(start).replace(tzinfo=local).astimezone(UTC)
    for _ in range(count):
        upcoming = trigger.after(previous)
        assert upcoming is not None
        fires.append(upcoming.astimezone(local).strftime("%a %d %H:%M%z"))
        previous = upcoming
    return fires


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_sunday_is_0_and_7(sunday: str) -> None:
    assert _fires(f"0 0 * * {sunday}", "UTC", "2030-01-01", 1) == ["Sun 06 00:00+0000"]


def test_monday_is_1() -> None:
    assert _fires("0 0 * * 1", "UTC", "2030-01-01", 1) == ["Mon 07 00:00+0000"]


def test_day_of_month_or_day_of_week() -> None:
    assert _fires("0 0 3 * 5", "UTC", "2030-01-01", 3) == [
        "Thu 03 00:00+0000",
        "Fri 04 00:00+0000",
        "Fri 11 00:00+0000",
    ]


def test_a_star_leaves_the_other_day_field_alone() -> None:
    assert _fires("0 0 * * 5", "UTC", "2030-01-01", 1) == ["Fri 04 00:00+0000"]
    assert _fires("0 0 5 * *", "UTC", "2030-01-01", 1) == ["Sat 05 00:00+0000"]


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        # Berlin, 31 March 2030: 02:00 becomes 03:00.
        ("30 2 * * *", ["Sat 30 02:30+0100", "Sun 31 03:00+0200", "Mon 01 02:30+0200"]),
        (
            "0,30 2 * * *",
            ["Sat 30 02:00+0100", "Sat 30 02:30+0100", "Sun 31 03:00+0200", "Mon 01 02:00+0200"],
        ),
        ("0 2,3 * * *", ["Sat 30 02:00+0100", "Sat 30 03:00+0100", "Sun 31 03:00+0200", "Mon 01 02:00+0200"]),
    ],
)
def test_a_fixed_time_in_the_gap_fires_once_at_the_first_valid_instant(
    expression: str, fires: list[str]
) -> None:
    assert _fires(expression, "Europe/Berlin", "2030-03-30T01:00", len(fires)) == fires


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        # Berlin, 27 October 2030: 03:00 becomes 02:00.
        ("30 2 * * *", ["Sun 27 02:30+0200", "Mon 28 02:30+0100"]),
        ("0 3 * * *", ["Sun 27 03:00+0100", "Mon 28 03:00+0100"]),
        ("30 * * * *", ["Sun 27 01:30+0200", "Sun 27 02:30+0200", "Sun 27 02:30+0100", "Sun 27 03:30+0100"]),
    ],
)
def test_a_fixed_time_in_the_overlap_fires_once_and_stars_follow_real_time(
    expression: str, fires: list[str]
) -> None:
    assert _fires(expression, "Europe/Berlin", "2030-10-27T01:00", len(fires)) == fires


@pytest.mark.rule(2)
def test_asked_in_the_second_pass_of_an_overlap_it_does_not_go_back_to_the_first() -> None:
    trigger = CrontabTrigger(CronTrigger(expression="30 2 * * *", zone="Europe/Berlin"))
    second_pass = datetime(2030, 10, 27, 1, 10, tzinfo=UTC)  # 02:10, for the second time
    assert trigger.after(second_pass) == datetime(2030, 10, 28, 1, 30, tzinfo=UTC)


@pytest.mark.rule(2)
@given(
    minutes=st.integers(0, 6 * 60),
    seconds=st.integers(0, 59),
    expression=st.sampled_from(
        ["30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 * * * *", "*/7 2 * * *", "5 0,2 * * 0"]
    ),
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC"]
    ),
    day=st.sampled_from(["2030-03-31", "2030-10-27", "2030-03-10", "2030-11-03", "2030-04-07", "2030-10-06"]),
)
def test_the_next_fire_is_always_later_and_asking_again_gives_no_earlier_one(
    minutes: int, seconds: int, expression: str, zone: str, day: str
) -> None:
    """Whenever in the hours of a clock change it is asked: it moves forward, also where its clock is behind."""
    trigger = CrontabTrigger(CronTrigger(expression=expression, zone=zone))
    previous = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    previous += timedelta(minutes=minutes, seconds=seconds)
    for _ in range(8):
        upcoming = trigger.after(previous)
        assert upcoming is not None
        assert upcoming > previous
        behind = previous - timedelta(minutes=30)
        assert trigger.get_next_fire_time(previous, behind) == upcoming
        between = previous + (upcoming - previous) / 2
        assert trigger.after(between) == upcoming
        previous = upcoming


@pytest.mark.parametrize(
    "expression", ["60 * * * *", "* * * * mond", "0 0 30 2 *", "*/0 * * * *", "a b c d e"]
)
def test_an_expression_that_cannot_be_read_is_refused(expression: str) -> None:
    with pytest.raises(BadInput, match="expression"):
        CrontabTrigger(CronTrigger(expression=expression))
