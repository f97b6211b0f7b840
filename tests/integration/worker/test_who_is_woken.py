"""A new run wakes the worker that has nothing to do, where there is one."""

import asyncio
import time
from typing import Any

import pytest

from shared.core.outcomes import Done
from shared.ports import Message
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext
from worker_svc.intake import Intake

RUNS = 5


async def test_of_a_busy_worker_and_an_idle_one_the_idle_one_is_woken(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_svc.arq_worker.BACKSTOP_S", 20.0)
    waits_since: dict[str, float] = {}
    wait = Intake.wait_and_take

    async def noted(intake: Intake, most: int, timeout_s: float) -> list[Message]:
        waits_since[intake._worker] = time.monotonic()
        taken = await wait(intake, most, timeout_s)
        del waits_since[intake._worker]
        return taken

    def idle_waits_longer() -> bool:
        return waits_since.get("idle", float("inf")) < waits_since.get("busy", 0.0)

    over = asyncio.Event()

    async def endless(context: JobContext, _: Any) -> Done:
        await over.wait()
        return Done()

    monkeypatch.setattr(Intake, "wait_and_take", noted)
    async with rig.worker({"ping": endless}, name="busy"):
        await rig.in_state(await rig.enqueue(), "running")
        async with rig.worker(name="idle"):
            for _ in range(RUNS):
                await wait_until_async(idle_waits_longer, 5, "the busy one waits in short stretches")
                # The busy one would never end it.
                await rig.in_state(await rig.enqueue(), "succeeded")
        over.set()
