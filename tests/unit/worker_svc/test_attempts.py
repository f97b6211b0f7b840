"""How an attempt is told to stop."""

import asyncio
from contextlib import suppress

import pytest

from tests.unit.worker_svc.runs import attempt_at
from worker_svc.attempts import Attempt, Attempts, Stop
from worker_svc.lease import Lease


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_stop_cancels_the_handler_and_keeps_the_first_reason() -> None:
    attempt, handler = attempt_at(), asyncio.create_task(_for_ever())
    attempt.watch(handler)
    attempt.stop(Stop.CANCEL)
    attempt.stop(Stop.HAND_BACK)
    await asyncio.wait({handler})
    assert handler.cancelled()
    assert attempt.stopped is Stop.CANCEL
    assert attempt.lease.remaining_s > 0


async def test_a_lost_lease_overrides_every_other_reason() -> None:
    attempt = attempt_at()
    attempt.stop(Stop.HAND_BACK)
    attempt.stop(Stop.LOST)
    attempt.stop(Stop.CANCEL)
    assert attempt.stopped is Stop.LOST
    assert attempt.lease.remaining_s == 0.0


async def test_a_stop_before_the_handler_started_stops_it_at_once() -> None:
    attempt = attempt_at()
    attempt.stop(Stop.CANCEL)
    handler = asyncio.create_task(_for_ever())
    attempt.watch(handler)
    await asyncio.wait({handler})
    assert handler.cancelled()


async def test_a_second_stop_does_not_break_into_the_handlers_clean_up() -> None:
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.sleep(0.01)
            cleaned.set()

    attempt, handler = attempt_at(), asyncio.create_task(tidy())
    attempt.watch(handler)
    await asyncio.sleep(0)
    attempt.stop(Stop.TIMEOUT)
    await cleaning.wait()
    attempt.stop(Stop.LOST)
    await asyncio.wait({handler})
    assert cleaned.is_set()


async def test_a_handler_that_does_not_unwind_is_left_alone_and_one_that_does_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker_svc.attempts.UNWIND_S", 0.01)
    left: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await release.wait()
        await release.wait()

    stubborn, obedient = attempt_at(), attempt_at()
    handlers = [asyncio.create_task(deaf()), asyncio.create_task(_for_ever())]
    obedient.watch(handlers[1], lambda: left.put_nowait("obedient"))
    stubborn.watch(handlers[0], lambda: left.put_nowait("stubborn"))
    await asyncio.sleep(0)
    obedient.stop(Stop.CANCEL)
    obedient.ended()
    stubborn.stop(Stop.CANCEL)
    assert await left.get() == "stubborn"
    release.set()
    await asyncio.wait(handlers)
    assert left.empty()


@pytest.mark.rule(6)
async def test_a_run_that_came_back_to_the_worker_that_had_lost_it_ends_the_old_attempt() -> None:
    attempts, old = Attempts(), attempt_at()
    attempts.add(old)
    new = Attempt(old.run, Lease(0.0, 15.0, lambda: 0.0))
    attempts.add(new)
    assert (old.stopped, new.stopped) == (Stop.LOST, None)
    attempts.remove(old)  # it has unwound
    assert list(attempts) == [new]
    assert not await attempts.ended(0.01)
    attempts.remove(new)
    assert await attempts.ended(0.01)


async def test_an_attempt_is_found_by_run_and_attempt_together() -> None:
    attempts, attempt = Attempts(), attempt_at(attempt=4)
    attempts.add(attempt)
    assert attempts.find(attempt.run.id, 4) is attempt
    assert attempts.find(attempt.run.id, 3) is None
    assert attempts.find(attempt_at().run.id, 4) is None
