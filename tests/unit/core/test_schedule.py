"""Schedules as people write them."""

from datetime import UTC, datetime

import pytest

from shared.core.durations import format_duration, parse_duration
from shared.core.errors import BadInput
from shared.core.jobspec import Queue
from shared.core.schedule import JobState, ScheduleSpec, at, cron, every
from shared.jobs import JOBS

_AT = {"type": "date", "at": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("500ms", 0.5),
        ("1.5h", 5400),
    ],
)
def test_a_duration_is_read_as_written(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 minutes", "-5m", "5m!", "1e3s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="looks like 90s"):
        parse_duration(text)


def test_a_time_without_an_offset_is_read_on_the_wall_clock_of_the_zone() -> None:
    assert at("2030-07-01T10:00", "Europe/Berlin").at == datetime(2030, 7, 1, 8, tzinfo=UTC)
    assert at("2030-07-01T10:00Z", "Europe/Berlin").at == datetime(2030, 7, 1, 10, tzinfo=UTC)


def test_macros_of_crontab_are_spelled_out() -> None:
    assert cron("@daily").expression == "0 0 * * *"


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"id": "a b", "job": "ping", "trigger": _AT}, "^id: "),
        ({"id": "a", "job": "ping", "trigger": _AT, "store": "x"}, "^store: .*'maintenance'"),
        ({"id": "a", "job": "ping", "trigger": {"type": "cron", "expression": "* *"}}, "five fields"),
        (
            {"id": "a", "job": "ping", "trigger": {"type": "cron", "expression": "* * * * *", "zone": "X/Y"}},
            "no time zone: 'X/Y'",
        ),
        ({"id": "a", "job": "ping", "trigger": {"type": "date", "at": "2030-01-01T00:00:00"}}, "timezone"),
        ({"id": "a", "job": "ping", "trigger": {"type": "interval", "every_s": 0}}, "every_s: .*0.1"),
        ({"id": "a", "job": "ping", "trigger": _AT, "misfire_grace_s": 0}, "^misfire_grace_s: "),
        (
            {"id": "a", "job": "ping", "trigger": _AT, "catch_up": True, "overlap": "skip"},
            "overlap must be queue",
        ),
        ({"id": "a", "job": "ping", "trigger": _AT, "graze": 1}, "^graze: "),
    ],
)
def test_a_refusal_names_the_field_and_the_fix(raw: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        ScheduleSpec.parse(raw)


def test_a_schedule_is_bound_to_its_jobs_arguments_and_queue() -> None:
    spec = ScheduleSpec(id="a", job="ping", trigger=every("5m")).bound_to(JOBS)
    assert (spec.store, spec.args) == (Queue.MAINTENANCE, {"sleep_s": 0.0})


@pytest.mark.parametrize(
    ("job", "args", "complaint"),
    [("nope", {}, "there is no job 'nope'"), ("ping", {"slep_s": 1}, "unknown argument 'slep_s'")],
)
def test_an_unknown_job_or_argument_is_refused(job: str, args: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        ScheduleSpec(id="a", job=job, args={**args}, trigger=every("5m")).bound_to(JOBS)


def test_names_that_a_newer_version_added_to_a_stored_schedule_are_ignored() -> None:
    state = JobState.model_validate({"job": "ping", "trigger": {**_AT, "new": 1}, "also_new": {}})
    assert state.trigger == at("2030-01-01T00:00:00Z")
