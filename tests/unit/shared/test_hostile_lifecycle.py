"""No component ends in silence."""

import asyncio

import pytest

from shared import lifecycle
from shared.lifecycle import Component, supervise
from tests.wait import wait_until_async


async def test_a_cancellation_that_nobody_asked_for_is_a_failure_and_the_component_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_FIRST_S", 0.001)

    class Cancelled(Component):
        name = "cancelled"
        runs = 0

        async def run(self) -> None:
            self.runs += 1
            inner = asyncio.create_task(asyncio.Event().wait())
            if self.runs < 3:
                inner.cancel()
            await inner

    component, stop = Cancelled(), asyncio.Event()
    supervisor = asyncio.create_task(supervise([component], stop))
    await wait_until_async(lambda: component.runs == 3, 5, "runs again")
    stop.set()
    await asyncio.wait_for(supervisor, 5)
