"""Handlers that share a task with others, in all the ways in which they can leave it badly: no neighbour pays for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from shared.core.outcomes import Done
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext

Behaviour = Callable[[], Awaitable[Done]]


def _task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


def _raising(error: BaseException) -> Behaviour:
    async def behaviour() -> Done:
        raise error

    return behaviour


async def _enters_a_time_out() -> Done:
    await asyncio.timeout(0.01).__aenter__()
    return Done()


async def _enters_a_task_group() -> Done:
    group = asyncio.TaskGroup()
    await group.__aenter__()
    group.create_task(_raising(ValueError("a child"))())
    return Done()


async def _is_cancelled_soon() -> Done:
    asyncio.get_running_loop().call_soon(_task().cancel)
    return Done()


async def _cancels_itself() -> Done:
    _task().cancel()
    return Done()


@pytest.mark.parametrize(
    "odd",
    [
        _enters_a_time_out,
        _enters_a_task_group,
        _is_cancelled_soon,
        _cancels_itself,
        _raising(asyncio.CancelledError()),
        _raising(GeneratorExit()),
        _raising(KeyboardInterrupt()),
        _raising(SystemExit(3)),
    ],
)
async def test_whatever_a_handler_leaves_behind_its_neighbours_succeed_at_once(
    rig: Rig, odd: Behaviour
) -> None:
    """Given one batch of odd handlers between others that await something, then these need one attempt each, and no slot
    is kept."""
    odd_ones: set[UUID] = set()
    began = 0

    async def handler(context: JobContext, _: Any) -> Done:
        nonlocal began
        began += 1
        if context.run.id in odd_ones:
            return await odd()
        await asyncio.sleep(0.02)
        return Done()

    runs = [await rig.enqueue() for _ in range(9)]
    odd_ones |= set(runs[::2])
    async with rig.worker({"ping": handler}) as worker:
        for run_id in runs[1::2]:
            assert (await rig.in_state(run_id, "succeeded")).attempt == 1
        await wait_until_async(lambda: began == 9 and not len(worker.attempts), what="no attempt is left")
