"""The end of a worker: what runs finishes within the grace or goes back for nothing; nothing is lost."""

import asyncio
import time
from typing import Any

import pytest

from shared.core.outcomes import Done, Outcome
from shared.db import ledger
from tests.integration.worker.behaviours import Held
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext


async def test_a_running_job_finishes_within_the_grace(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}) as worker:
        run_id = await rig.enqueue()
        await held.started()
        stopping = asyncio.create_task(worker.stop())
        late = await rig.enqueue()
        await asyncio.sleep(0.05)
        held.go_on.set()
        await stopping
        assert (await rig.run(run_id)).state == "succeeded"
        assert (await rig.run(late)).attempt == 0
    assert held.cancelled == 0


@pytest.mark.rule(4)
async def test_what_outlasts_the_grace_goes_back_for_nothing_and_another_worker_finishes_it(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}, grace_s=0.05, name="leaving") as worker:
        run_id = await rig.enqueue()
        await held.started()
        await worker.stop()
        assert worker.relay_woken == 1
    row = await rig.run(run_id)
    assert (row.state, row.attempt, row.max_attempts, row.losses) == ("pending", 1, 11, 0)
    assert row.lease_until is None
    held.go_on.set()
    await rig.due_now(run_id)
    async with rig.worker({"ping": held}, name="other"):
        row = await rig.in_state(run_id, "succeeded")
    assert row.attempt == 2


async def test_a_deaf_handler_is_handed_back_like_any_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_svc.attempts.UNWIND_S", 0.05)
    let_go, began = asyncio.Event(), asyncio.Event()

    async def deaf(_: JobContext, __: Any) -> Outcome:
        began.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return Done()

    async with rig.worker({"ping": deaf}, grace_s=0.05) as worker:
        run_id = await rig.enqueue()
        await began.wait()
        started = time.monotonic()
        await worker.stop()
        assert time.monotonic() - started < 3
    row = await rig.run(run_id)
    assert (row.state, row.max_attempts) == ("pending", 11)
    let_go.set()


async def test_an_idle_worker_stops_within_a_second(rig: Rig) -> None:
    async with rig.worker() as worker:
        await rig.in_state(await rig.enqueue(), "succeeded")
        began = time.monotonic()
        await worker.stop()
        assert time.monotonic() - began < 1


async def test_a_claim_under_way_during_the_stop_is_run_and_not_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming, go_on = asyncio.Event(), asyncio.Event()
    real = ledger.claim

    async def slow(*args: Any, **options: Any) -> Any:
        runs = await real(*args, **options)
        if runs:
            claiming.set()
            await go_on.wait()
        return runs

    monkeypatch.setattr(ledger, "claim", slow)
    async with rig.worker() as worker:
        run_id = await rig.enqueue()
        await claiming.wait()
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0.05)
        go_on.set()
        await stopping
    row = await rig.run(run_id)
    assert (row.state, row.attempt) == ("succeeded", 1)
    assert await rig.messages() == 0


async def test_two_workers_share_a_queue_and_one_that_leaves_takes_nothing_along(rig: Rig) -> None:
    async with rig.worker(name="staying"):
        async with rig.worker(name="leaving"):
            run_ids = [await rig.enqueue() for _ in range(100)]
        for run_id in run_ids:
            await rig.in_state(run_id, "succeeded")
    assert {(await rig.run(run_id)).attempt for run_id in run_ids} == {1}
    await wait_until_async(lambda: _none(rig))


async def _none(rig: Rig) -> bool:
    return await rig.messages() == 0
