"""Requests to cancel: of what runs, of what waits, of what must not be cut off."""

import asyncio
from typing import Any

import pytest

from shared import jobs
from shared.core.jobspec import Queue
from shared.core.outcomes import Done, Outcome
from shared.db import ledger
from tests.integration.worker.behaviours import Held
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext

pytestmark = pytest.mark.rule(11)
SEND = jobs.SEND_PAYMENT_REMINDER_EMAILS


async def cancel(rig: Rig, run_id: Any) -> str | None:
    async with rig.database.begin() as connection:
        return await ledger.cancel(connection, run_id, reason="a person said so")


async def test_a_running_run_is_cancelled_by_its_worker(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}, lease_s=1.0):
        run_id = await rig.enqueue()
        await held.started()
        assert await cancel(rig, run_id) == "running"
        row = await rig.in_state(run_id, "cancelled")
    assert held.cancelled == 1
    assert row.reason == "cancelled on request"


async def test_a_job_that_must_not_be_cut_off_is_asked_and_decides_itself(rig: Rig) -> None:
    asked = asyncio.Event()

    async def handler(context: JobContext, _: Any) -> Outcome:
        await context.lease.cancel_requested.wait()
        asked.set()
        return Done({"finished": "what it had begun"})

    async with rig.worker({SEND.name: handler}, lease_s=1.0, queues=(Queue.PAYMENT_REMINDERS,)):
        run_id = await rig.enqueue(SEND)
        await rig.in_state(run_id, "running")
        await cancel(rig, run_id)
        row = await rig.in_state(run_id, "succeeded")
    assert asked.is_set()
    assert row.result == {"finished": "what it had begun"}


async def test_a_run_whose_cancellation_was_asked_before_its_retry_does_not_begin_again(rig: Rig) -> None:
    held = Held()
    run_id = await rig.enqueue_raw("ping", cancel_requested=True)
    async with rig.worker({"ping": held}):
        await rig.in_state(run_id, "cancelled")
    assert held.contexts == []


async def test_a_job_that_must_not_be_cut_off_knows_of_the_request_when_it_begins(rig: Rig) -> None:
    held = Held()
    held.go_on.set()
    async with rig.worker({SEND.name: held}, queues=(Queue.PAYMENT_REMINDERS,)):
        run_id = await rig.enqueue_raw(SEND.name, queue="payment_reminders", cancel_requested=True)
        await rig.in_state(run_id, "succeeded")
    assert held.contexts[0].lease.cancel_requested.is_set()


async def test_a_cancelled_waiting_run_never_begins(rig: Rig) -> None:
    held = Held()
    run_id = await rig.enqueue()
    assert await cancel(rig, run_id) == "cancelled"
    async with rig.worker({"ping": held}):
        await wait_until_async(lambda: _answered(rig), what="a message that was answered")
    row = await rig.run(run_id)
    assert (row.state, row.attempt, held.contexts) == ("cancelled", 0, [])


async def _answered(rig: Rig) -> bool:
    return await rig.messages() == 0
