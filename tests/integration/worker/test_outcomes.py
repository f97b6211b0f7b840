"""What becomes of a run, for everything a handler can do."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared import jobs
from shared.core.errors import Fenced, PermanentError, RateLimited
from shared.core.outcomes import Cancel, Done, Outcome, Retry, Snooze
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc import attempts
from worker_svc.context import Handler, JobContext
from worker_svc.results import MAX_RESULT_BYTES

Behaviour = Callable[[JobContext], Awaitable[Any]]


def handles(behaviour: Behaviour) -> dict[str, Handler]:
    async def handler(context: JobContext, _: Any) -> Outcome:
        return cast(Outcome, await behaviour(context))

    return {"ping": handler}


def returns(value: Any) -> dict[str, Handler]:
    async def behaviour(_: JobContext) -> Any:
        return value

    return handles(behaviour)


def raises(error: BaseException) -> dict[str, Handler]:
    async def behaviour(_: JobContext) -> Any:
        raise error

    return handles(behaviour)


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


async def test_an_exception_is_retried_with_backoff(rig: Rig) -> None:
    async with rig.worker(raises(KeyError("missing"))):
        row = await rig.back(await rig.enqueue())
    assert row.error == "KeyError: 'missing'"
    assert (row.attempt, row.max_attempts) == (1, 10)
    assert row.run_at - row.started_at >= timedelta(seconds=5)


async def test_the_last_attempt_that_fails_is_dead_with_its_error(rig: Rig) -> None:
    async with rig.worker(raises(ValueError("no"))):
        row = await rig.in_state(await rig.enqueue_raw("ping", max_attempts=1), "dead")
    assert row.error == "ValueError: no"
    assert row.finished_at is not None


async def test_a_permanent_error_is_dead_at_once(rig: Rig) -> None:
    async with rig.worker(raises(PermanentError("no such customer"))):
        row = await rig.in_state(await rig.enqueue(), "dead")
    assert (row.attempt, row.error) == (1, "PermanentError: no such customer")


@pytest.mark.rule(4)
async def test_a_rate_limit_costs_no_attempt(rig: Rig) -> None:
    async with rig.worker(raises(RateLimited("slow down", retry_after_s=120))):
        row = await rig.back(await rig.enqueue())
    assert (row.attempt, row.max_attempts) == (1, 11)
    assert row.run_at - row.started_at >= timedelta(seconds=120)


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


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.rule(9)
@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ValueError("a\x00b"), "ValueError: a\\x00b"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (ValueError("x" * 100_000), "xxx"),
        (Unreadable(), "Unreadable: (its text cannot be read)"),
        (BaseExceptionGroup("group", [ValueError("inner")]), "ExceptionGroup: group (1 sub-exception)"),
        (SystemExit(3), "RuntimeError: the handler raised SystemExit"),
        (KeyboardInterrupt(), "RuntimeError: the handler raised KeyboardInterrupt"),
        (GeneratorExit(), "RuntimeError: the handler raised GeneratorExit"),
        (asyncio.CancelledError(), "RuntimeError: the handler cancelled itself"),
        (Fenced("its refund belongs to another run"), "Fenced: its refund belongs to another run"),
    ],
)
async def test_whatever_a_handler_raises_ends_as_a_readable_error_in_the_ledger(
    rig: Rig, error: BaseException, kept: str
) -> None:
    async with rig.worker(raises(error)):
        row = await rig.back(await rig.enqueue())
    assert kept in row.error
    assert len(row.error) <= 4000
    assert row.attempt == 1


async def test_a_handler_that_runs_too_long_is_stopped_and_retried(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, timeout_s=0.05)
    unwound = asyncio.Event()

    async def hang(_: JobContext) -> Done:
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()
        return Done()

    async with rig.worker(handles(hang)):
        row = await rig.back(await rig.enqueue())
    assert unwound.is_set()
    assert row.error.startswith("TimeoutError: ran longer than")
    assert (row.attempt, row.max_attempts) == (1, 10)


async def test_what_a_handler_raises_when_it_is_stopped_does_not_hide_the_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, timeout_s=0.05)

    async def hang(_: JobContext) -> Done:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("connection torn down") from None
        return Done()

    async with rig.worker(handles(hang)):
        row = await rig.back(await rig.enqueue())
    assert row.error.startswith("TimeoutError: ran longer than")


async def test_a_handler_that_finishes_although_it_was_told_to_stop_has_finished(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, timeout_s=0.05)

    async def hang(_: JobContext) -> Done:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Done({"closed": "the books first"})
        return Done()

    async with rig.worker(handles(hang)):
        row = await rig.in_state(await rig.enqueue(), "succeeded")
    assert row.result == {"closed": "the books first"}


@pytest.mark.rule(7)
async def test_a_handler_that_swallows_its_cancellation_is_left_behind_without_a_lease(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, timeout_s=0.05)
    monkeypatch.setattr(attempts, "UNWIND_S", 0.05)
    contexts, go_on = [], asyncio.Event()

    async def deaf(context: JobContext) -> Done:
        contexts.append(context)
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return Done()

    async with rig.worker(handles(deaf)):
        row = await rig.back(await rig.enqueue())
        assert row.error.startswith("TimeoutError")
        # Another attempt may run by now: this one must start no provider call.
        with pytest.raises(Fenced):
            contexts[0].lease.check()
        go_on.set()


async def test_one_poison_run_takes_nobody_with_it(rig: Rig) -> None:
    async def behaviour(context: JobContext) -> Done:
        if context.run.max_attempts == 1:
            sys.exit(1)
        return Done()

    async with rig.worker(handles(behaviour)):
        poison = await rig.enqueue_raw("ping", max_attempts=1)
        others = [await rig.enqueue() for _ in range(20)]
        assert (await rig.in_state(poison, "dead")).error
        for run_id in others:
            await rig.in_state(run_id, "succeeded")


def shorten(monkeypatch: pytest.MonkeyPatch, *, timeout_s: float) -> None:
    """Gives ping a short time-out."""
    monkeypatch.setitem(jobs.PING.__dict__, "timeout", timedelta(seconds=timeout_s))


async def test_a_handler_that_cancels_its_own_task_is_retried_and_gives_its_slot_back(rig: Rig) -> None:
    async def behaviour(_: JobContext) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async with rig.worker(handles(behaviour), max_jobs=1) as worker:
        for _ in range(2):  # the second one finds the only slot free
            row = await rig.back(await rig.enqueue())
            assert row.error == "RuntimeError: the handler cancelled itself"
        await wait_until_async(lambda: not len(worker.attempts), what="no attempt is left")


async def test_a_handler_that_cancels_its_own_task_and_awaits_nothing_disturbs_no_other_run(rig: Rig) -> None:
    async def behaviour(_: JobContext) -> Any:
        await asyncio.sleep(0)
        return Done()

    async def restless(_: JobContext, __: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return Done()

    runs = [await rig.enqueue_raw(job) for _ in range(3) for job in ("daily_cleanup", "ping")]  # one batch
    async with rig.worker({**handles(behaviour), "daily_cleanup": restless}):
        for run_id in runs:
            assert (await rig.in_state(run_id, "succeeded")).attempt == 1
