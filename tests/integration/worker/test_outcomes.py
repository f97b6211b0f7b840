"""What becomes of a run, for everything a handler can return, and where none can be called."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared import jobs
from shared.core.outcomes import Cancel, Done, Retry, Snooze
from tests.integration.worker.behaviours import returns
from tests.integration.worker.rig import Rig
from worker_svc.results import MAX_RESULT_BYTES


async def test_a_ping_goes_from_enqueue_to_succeeded_and_leaves_no_message(rig: Rig) -> None:
    async with rig.worker():
        run_id = await rig.enqueue(jobs.PING, jobs.PingArgs(sleep_s=0.01))
        row = await rig.in_state(run_id, "succeeded")
    assert (row.attempt, row.result, row.error) == (1, {}, None)
    assert row.lease_until is None
    assert row.worker is None
    assert row.enqueued_at <= row.started_at <= row.finished_at
    assert await rig.messages() == 0


async def test_a_result_is_kept_with_the_run(rig: Rig) -> None:
    async with rig.worker(returns(Done({"refunded": 3, "text": "naïve \\u0000 ☃"}))):
        row = await rig.in_state(await rig.enqueue(), "succeeded")
    assert row.result == {"refunded": 3, "text": "naïve \\u0000 ☃"}


async def test_a_retry_costs_the_attempt_and_waits_for_the_backoff(rig: Rig) -> None:
    async with rig.worker(returns(Retry("the provider sneezed"))):
        run_id = await rig.enqueue()
        row = await rig.back(run_id)
        assert (row.attempt, row.max_attempts) == (1, 10)
    assert row.error == "the provider sneezed"
    assert timedelta(seconds=5) <= row.run_at - row.started_at <= timedelta(seconds=11)


async def test_a_retry_at_an_instant_waits_for_that_instant(rig: Rig) -> None:
    when = datetime(2099, 1, 1, tzinfo=UTC)
    async with rig.worker(returns(Retry("later", when))):
        row = await rig.back(await rig.enqueue())
    assert row.run_at == when


@pytest.mark.rule(4)
async def test_a_snooze_costs_no_attempt_and_never_lowers_the_fence(rig: Rig) -> None:
    async with rig.worker(returns(Snooze(timedelta(minutes=3), "not yet"))):
        row = await rig.back(await rig.enqueue())
    assert (row.attempt, row.max_attempts) == (1, 11)
    assert row.error == "not yet"
    assert timedelta(seconds=179) <= row.run_at - row.started_at <= timedelta(seconds=190)


async def test_a_handler_can_cancel_its_run_and_the_reason_is_kept(rig: Rig) -> None:
    async with rig.worker(returns(Cancel("the invoice was paid"))):
        row = await rig.in_state(await rig.enqueue(), "cancelled")
    assert (row.reason, row.error) == ("the invoice was paid", None)
    assert row.finished_at is not None


async def test_arguments_that_do_not_fit_are_dead_with_the_field_named(rig: Rig) -> None:
    async with rig.worker():
        run_id = await rig.enqueue_raw("ping", '{"sleep_s": "secret-looking value"}')
        row = await rig.in_state(run_id, "dead")
    assert "argument 'sleep_s'" in row.error
    assert "secret-looking" not in row.error
    assert "http" not in row.error


@pytest.mark.parametrize("args", ["[]", "null", '"text"', "7"])
async def test_arguments_that_are_no_object_are_dead_and_not_lost(rig: Rig, args: str) -> None:
    async with rig.worker():
        row = await rig.in_state(await rig.enqueue_raw("ping", args), "dead")
    assert "arguments cannot be read" in row.error


async def test_arguments_that_this_version_does_not_know_are_ignored(rig: Rig) -> None:
    async with rig.worker():
        run_id = await rig.enqueue_raw("ping", '{"sleep_s": 0, "from_the_future": true}')
        await rig.in_state(run_id, "succeeded")


@pytest.mark.rule(10)
async def test_an_unknown_job_goes_back_for_some_seconds_unharmed(rig: Rig) -> None:
    async with rig.worker():
        row = await rig.back(await rig.enqueue_raw("job_of_next_year"))
    assert (row.attempt, row.max_attempts) == (1, 11)
    assert timedelta(seconds=3) <= row.run_at - row.started_at <= timedelta(seconds=10)
    assert "job_of_next_year" in row.error


@pytest.mark.rule(10)
async def test_a_known_job_whose_handler_this_worker_lacks_goes_back_too(rig: Rig) -> None:
    async with rig.worker():
        row = await rig.back(await rig.enqueue_raw("daily_cleanup"))
    assert (row.attempt, row.max_attempts) == (1, 11)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned NoneType"),
        ("done", "returned str"),
        (Done, "returned type"),
        (Snooze(datetime(2099, 1, 1)), "time zone"),  # noqa: DTZ001  # that is the mistake
        (Retry(cast(Any, 5)), "Retry cannot be used"),
        (Snooze(cast(Any, 5)), "Snooze cannot be used"),
    ],
)
async def test_an_outcome_that_is_none_is_dead_at_once_with_the_reason(
    rig: Rig, value: object, said: str
) -> None:
    async with rig.worker(returns(value)):
        row = await rig.in_state(await rig.enqueue(), "dead")
    assert said in row.error
    assert row.attempt == 1


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"when": object()}, "object"),
        ({"ratio": float("nan")}, "Out of range float"),
        ({"text": "a\x00b"}, "NUL"),
        ({"deep": {"\x00": [1]}}, "NUL"),
        ({"text": "\ud800"}, "surrogates"),
        ({"text": "x" * MAX_RESULT_BYTES}, "more than"),
        ([1], "list"),
        (None, "NoneType"),
    ],
)
async def test_a_result_that_cannot_be_kept_says_so_and_undoes_nothing(
    rig: Rig, result: Any, said: str
) -> None:
    async with rig.worker(returns(Done(result))):
        row = await rig.in_state(await rig.enqueue(), "succeeded")
    assert said in row.result["result_not_kept"]
