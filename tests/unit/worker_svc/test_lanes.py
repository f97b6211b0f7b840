"""Lanes: whoever awaits has a task to itself, and nobody waits for anybody."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from tests.unit.worker_svc.runs import attempt_at
from tests.wait import wait_until_async
from worker_svc.attempts import Attempt, Stop
from worker_svc.lanes import Lanes, Tell

Leave = Callable[[], Awaitable[object]]


def nothing() -> None:
    """A slot's owner that need not know."""


def current() -> str:
    """The task's name: who holds the task itself is not given one together with others."""
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


def add(lanes: Lanes, *attempts: Attempt) -> None:
    for attempt in attempts:
        lanes.add(attempt, nothing, nothing)


async def test_attempts_that_await_nothing_run_in_their_order_and_share_a_task() -> None:
    ran: list[Attempt] = []
    tasks: set[str] = set()

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        ran.append(attempt)
        tasks.add(current())

    lanes, attempts = Lanes(execute), [attempt_at() for _ in range(50)]
    add(lanes, *attempts)
    await wait_until_async(lambda: len(ran) == 50, what="all have run")
    assert ran == attempts
    assert len(tasks) == 1

    add(lanes, attempts[0])
    await wait_until_async(lambda: len(ran) == 51, what="one that comes later runs as well")


async def test_one_that_awaits_keeps_nobody_waiting_and_has_a_task_to_itself() -> None:
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[None] | None] = []
    ended: list[Attempt] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        tasks.append(asyncio.current_task())
        if attempt.run.attempt == 2:
            await go_on.wait()
        ended.append(attempt)

    lanes = Lanes(execute)
    plain, waiting = [attempt_at(attempt=1) for _ in range(3)], [attempt_at(attempt=2) for _ in range(3)]
    add(lanes, waiting[0], plain[0], waiting[1], waiting[2], plain[1], plain[2])
    await wait_until_async(lambda: len(tasks) == 6, what="all have begun")
    assert ended == plain
    assert len({tasks[0], tasks[2], tasks[3]}) == 3

    go_on.set()
    await wait_until_async(lambda: len(ended) == 6, what="all have ended")


async def test_the_limit_counts_from_the_beginning_and_stops_the_one_that_passes_it() -> None:
    stopped: list[Attempt] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        task = asyncio.current_task()
        assert task is not None
        attempt.watch(task, ends_at=asyncio.get_running_loop().time() + (0.01 if attempt is slow else 60))
        try:
            if attempt is slow:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(attempt)
        finally:
            attempt.ended()

    lanes, slow, neighbours = Lanes(execute), attempt_at(), [attempt_at(), attempt_at()]
    add(lanes, neighbours[0], slow, neighbours[1])
    await wait_until_async(lambda: stopped == [slow], what="the slow one is stopped")
    assert [each.stopped for each in (neighbours[0], slow, neighbours[1])] == [None, Stop.TIMEOUT, None]


async def test_one_that_fails_takes_nobody_with_it() -> None:
    ran: list[Attempt] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        ran.append(attempt)
        if attempt.run.attempt == 2:
            raise asyncio.CancelledError

    lanes = Lanes(execute)
    add(lanes, attempt_at(attempt=2), attempt_at(), attempt_at())
    await wait_until_async(lambda: len(ran) == 3, what="the others run")


async def test_what_a_handler_binds_is_not_bound_for_the_next_one() -> None:
    bound: ContextVar[int | None] = ContextVar("bound", default=None)
    found: list[int | None] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        found.append(bound.get())
        bound.set(attempt.run.attempt)

    add(Lanes(execute), *(attempt_at(attempt=n) for n in range(3)))
    await wait_until_async(lambda: len(found) == 3, what="all have run")
    assert found == [None, None, None]


async def _leaves_a_task_group() -> object:
    async def fails() -> None:
        raise ValueError("a child")

    group = asyncio.TaskGroup()
    await group.__aenter__()
    return group, group.create_task(fails())


async def _leaves_a_time_out() -> object:
    limit = asyncio.timeout(0.01)
    await limit.__aenter__()
    return limit


async def _leaves_a_timer() -> object:
    task = asyncio.current_task()
    assert task is not None
    return asyncio.get_running_loop().call_later(0.01, task.cancel)


@pytest.mark.parametrize("leave", [_leaves_a_task_group, _leaves_a_time_out, _leaves_a_timer])
async def test_what_a_handler_enters_and_does_not_leave_cancels_nobody_else(leave: Leave) -> None:
    left: list[object] = []
    ended: list[str] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        if attempt.run.attempt == 1:
            left.append(await leave())
            return
        try:
            await asyncio.sleep(0.05)
            ended.append("well")
        except asyncio.CancelledError:
            ended.append("cancelled")

    add(Lanes(execute), attempt_at(attempt=1), attempt_at(attempt=2))
    await wait_until_async(lambda: ended, what="the neighbour has ended")
    assert ended == ["well"]


async def test_a_lane_that_is_cancelled_before_it_begins_leaves_nobody_behind() -> None:
    ran: list[Attempt] = []

    async def execute(attempt: Attempt, _: Tell, __: Tell) -> None:
        ran.append(attempt)

    before, lanes = asyncio.all_tasks(), Lanes(execute)
    add(lanes, attempt_at())
    for lane in asyncio.all_tasks() - before:
        lane.cancel()
    await wait_until_async(lambda: len(ran) == 1, what="it runs all the same")
