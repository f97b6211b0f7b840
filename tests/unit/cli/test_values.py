import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import click
import pytest
from pydantic import Field

from cli.values import find_job, instant, parse_arguments, time_span
from shared import jobs
from shared.core.errors import BadInput
from shared.core.jobspec import JobArgs, JobSpec, Queue


class Anything(JobArgs):
    text: str = ""
    number: float = 0
    many: list[int] = Field(default_factory=list)


ANYTHING = JobSpec("anything", Anything, Queue.MAINTENANCE, "For these tests.")


def test_values_are_json_where_they_parse_and_text_where_not() -> None:
    args = parse_arguments(ANYTHING, ["text=hello there", "number=1.5", "many=[1, 2]"])
    assert args == Anything(text="hello there", number=1.5, many=[1, 2])


def test_a_text_that_looks_like_a_number_is_a_text_where_a_text_is_wanted() -> None:
    assert parse_arguments(jobs.APPLY_STRIPE_EVENT, ["event_id=42"]).event_id == "42"


def test_a_value_may_hold_equals_signs() -> None:
    assert parse_arguments(ANYTHING, ["text=a=b"]).text == "a=b"


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        (["sleep_s"], "-a sleep_s: write it as key=value"),
        (["sleep_s=1", "sleep_s=2"], "-a sleep_s: is given twice"),
        (["slep=1"], "unknown argument 'slep' (it takes: sleep_s)"),
        (["sleep_s=-1"], "argument 'sleep_s': input should be greater than or equal to 0"),
        (["sleep_s=NaN"], "argument 'sleep_s'"),
    ],
)
def test_bad_arguments_name_the_argument(pairs: list[str], complaint: str) -> None:
    with pytest.raises(BadInput, match=re.escape(complaint)):
        parse_arguments(jobs.PING, pairs)


def test_ids_are_read_as_ids() -> None:
    refund = "0190b6a8-0000-7000-8000-000000000001"
    assert parse_arguments(jobs.PROCESS_REFUND, [f"refund_id={refund}"]).refund_id == UUID(refund)


def test_an_unknown_job_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="there is no 'pong'; there are: ping, "):
        find_job("pong")


def test_an_instant_needs_a_zone() -> None:
    assert instant("2030-01-31T08:00:00Z") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    assert instant("2030-01-31T08:00:00+01:00") == datetime(2030, 1, 31, 7, tzinfo=UTC)
    with pytest.raises(click.BadParameter, match="has no zone"):
        instant("2030-01-31T08:00:00")
    with pytest.raises(click.BadParameter, match="is no time"):
        instant("tomorrow")


def test_a_duration_has_units() -> None:
    assert time_span("1h30m") == timedelta(hours=1, minutes=30)
    with pytest.raises(click.BadParameter, match="is no duration"):
        time_span("5")
    with pytest.raises(click.BadParameter, match="is too long"):
        time_span("99999999999d")
