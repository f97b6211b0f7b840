"""Reminder stages as text and as data."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.stages import Stage, parse_stages

STAGES = st.lists(st.integers(-999, 999), unique=True, min_size=1, max_size=12)


def test_the_default_stages_are_read_as_they_are_written() -> None:
    stages = parse_stages("-3d,0d,+3d,+7d,+14d")

    assert [stage.name for stage in stages] == ["-3d", "0d", "+3d", "+7d", "+14d"]
    assert [stage.offset for stage in stages] == [timedelta(days=days) for days in (-3, 0, 3, 7, 14)]


@given(STAGES)
def test_stages_are_read_back_from_their_names_the_earliest_first(days: list[int]) -> None:
    text = ", ".join(Stage(each).name for each in days)

    assert [stage.days for stage in parse_stages(text)] == sorted(days)


@given(st.integers(0, 999))
def test_a_plus_may_be_left_out(days: int) -> None:
    assert parse_stages(f"{days}d") == parse_stages(f"+{days}d")


@pytest.mark.parametrize("text", ["", "3", "d", "3h", "+-3d", "0d,,3d", "1000d", "3.5d", "٣d3"])
def test_what_is_no_stage_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="a stage is a number of days"):
        parse_stages(text)


@given(STAGES)
def test_a_stage_named_twice_is_refused(days: list[int]) -> None:
    text = ",".join(Stage(each).name for each in [*days, days[0]])

    with pytest.raises(ValueError, match="twice"):
        parse_stages(text)


@pytest.mark.parametrize("text", ["0d,-0d", "+0d,0d"])
def test_zero_is_zero_with_any_sign(text: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_stages(text)
