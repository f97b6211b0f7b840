"""A handler that runs longer than its job allows is stopped, and what it does then is judged."""

import asyncio
from datetime import timedelta

import pytest

from shared import jobs
from shared.core.errors import Fenced
from shared.core.outcomes import Done
from tests.integration.worker.behaviours import handles
from tests.integration.worker.rig import Rig
from worker_svc import attempts
from worker_svc.context import JobContext


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


def shorten(monkeypatch: pytest.MonkeyPatch, *, timeout_s: float) -> None:
    """Gives ping a short time-out."""
    monkeypatch.setitem(jobs.PING.__dict__, "timeout", timedelta(seconds=timeout_s))
