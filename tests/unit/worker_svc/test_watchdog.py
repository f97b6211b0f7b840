"""The watchdog of the event loop. Its real end, an exit of the process, is tested with processes."""

import asyncio
import threading
import time

import pytest

from shared.lifecycle import EX_TEMPFAIL, supervise
from tests.wait import wait_until_async
from worker_svc import watchdog
from worker_svc.watchdog import Watchdog


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which the process would have ended."""
    statuses: list[int] = []
    monkeypatch.setattr(watchdog.os, "_exit", statuses.append)
    return statuses


async def test_a_loop_that_is_blocked_beyond_the_limit_ends_the_process(exits: list[int]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(supervise([Watchdog(0.2)], stop))
    await asyncio.sleep(0.05)
    deadline = time.monotonic() + 5
    while not exits and time.monotonic() < deadline:
        time.sleep(0.01)  # noqa: ASYNC251  # it blocks the loop: that is the fault
    assert exits[0] == EX_TEMPFAIL
    stop.set()
    await running


@pytest.mark.parametrize("limit_s", [0.2, 1.0])
async def test_a_loop_that_ticks_is_left_alone_however_short_the_limit(
    exits: list[int], limit_s: float
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(supervise([Watchdog(limit_s)], stop))
    ended = time.monotonic() + limit_s * 2
    await wait_until_async(lambda: time.monotonic() > ended)
    stop.set()
    await running
    assert exits == []


async def test_a_process_that_was_stopped_as_a_whole_gets_its_time_to_tick_again(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    ticks = iter([1, 100, 1, 1, 1])  # seconds between the looks of the thread: it was stopped once

    class Stopped:
        def wait(self, _: float) -> bool:
            step = next(ticks, None)
            now[0] += step or 0
            return step is None

    guard = Watchdog(15.0)
    monkeypatch.setattr(guard, "_stopped", Stopped())
    thread = threading.Thread(target=guard._watch)
    thread.start()
    thread.join(5)
    assert exits == []
