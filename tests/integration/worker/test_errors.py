"""What a handler raises ends as a readable error in the ledger, and costs no other run anything."""

import asyncio
import sys
from datetime import timedelta
from typing import Any

import pytest

from shared.core.errors import Fenced, PermanentError, RateLimited
from shared.core.outcomes import Done
from tests.integration.worker.behaviours import handles, raises
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext


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
