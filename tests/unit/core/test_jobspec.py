"""Declarations of jobs, and how their arguments come in and go out."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from shared import jobs
from shared.core.errors import BadInput
from shared.core.jobspec import JobArgs, JobSpec, Overlap, Queue


class Args(JobArgs):
    count: int = Field(gt=0)
    label: str = "none"


SPEC = JobSpec("count", Args, Queue.MAINTENANCE, "Counts.")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "job count: argument 'count': field required"),
        ({"count": 0}, "argument 'count': input should be greater than 0"),
        ({"count": "many"}, "argument 'count'"),
        ({"count": 1, "lable": "x"}, "unknown argument 'lable' (it takes: count, label)"),
    ],
)
def test_arguments_from_outside_are_refused_by_the_name_of_the_field(
    raw: dict[str, object], said: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(said)) as refused:
        SPEC.parse(raw)
    assert "\n" not in str(refused.value)


def test_an_argument_of_a_job_without_any_says_that_it_takes_none() -> None:
    with pytest.raises(BadInput, match=r"it takes: none"):
        jobs.DAILY_CLEANUP.parse({"x": 1})


@pytest.mark.rule(10)
def test_arguments_from_the_ledger_may_know_more_than_this_version() -> None:
    assert SPEC.decode({"count": 1, "of_tomorrow": True}) == Args(count=1)
    with pytest.raises(ValidationError):
        SPEC.decode({"of_tomorrow": True})


@given(st.integers(min_value=1), st.text())
def test_arguments_survive_the_ledger(count: int, label: str) -> None:
    args = Args(count=count, label=label)
    assert SPEC.decode(SPEC.encode(args)) == args


@pytest.mark.parametrize(
    ("job", "args"),
    [
        (jobs.PING, jobs.PingArgs(sleep_s=0.5)),
        (jobs.PROCESS_REFUND, jobs.RefundArgs(refund_id=uuid4())),
        (jobs.SEND_PAYMENT_REMINDER_EMAILS, jobs.RemindersArgs(tolerance=timedelta(hours=3))),
        (jobs.SEND_REMINDER, jobs.ReminderArgs(user_id=uuid4())),
        (jobs.APPLY_STRIPE_EVENT, jobs.WebhookArgs(event_id="evt_1")),
    ],
)
def test_every_kind_of_argument_is_json_and_comes_back_the_same(job: JobSpec[JobArgs], args: JobArgs) -> None:
    encoded = job.encode(args)
    assert all(isinstance(value, (str, int, float)) for value in encoded.values())
    assert job.decode(encoded) == args


def test_arguments_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Args(count=1).count = 2  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("priority", [0, 10, -1])
def test_a_priority_outside_one_to_nine_is_refused(priority: int) -> None:
    with pytest.raises(ValueError, match="priority is 1 to 9"):
        JobSpec("x", Args, Queue.MAINTENANCE, "X.", priority=priority)


def test_every_declared_job_is_listed_under_its_own_name() -> None:
    assert all(name == spec.name for name, spec in jobs.JOBS.items())
    declared = {value.name for value in vars(jobs).values() if isinstance(value, JobSpec)}
    assert declared == set(jobs.JOBS)


def test_the_defaults_are_ten_attempts_and_five_minutes() -> None:
    assert (SPEC.retry.max_attempts, SPEC.timeout, SPEC.overlap) == (10, timedelta(minutes=5), Overlap.SKIP)


@pytest.mark.parametrize("job", [jobs.PROCESS_REFUND, jobs.SEND_PAYMENT_REMINDER_EMAILS, jobs.SEND_REMINDER])
def test_jobs_that_move_money_or_mail_are_not_cut_off_half_way(job: JobSpec[JobArgs]) -> None:
    assert not job.cancellable
