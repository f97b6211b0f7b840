"""Workers that die around the call, or wake too late: Stripe's books show each refund once (invariant M)."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from shared.core.errors import Fenced
from shared.core.outcomes import Recorded
from shared.ports import RefundGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.wire.interrupted import Interrupted, WorkerDied
from tests.stripe_sandbox import StripeSandbox


async def test_a_worker_that_dies_before_the_call_leaves_it_to_the_next(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    dying = Interrupted(http_gateway)
    dying.before = WorkerDied()
    refund_id = await desk.add_refund()

    with pytest.raises(WorkerDied):
        await desk.with_gateway(dying).pay(refund_id)
    assert sandbox.refunds() == []
    assert (await desk.refund(refund_id)).status == "processing"
    assert len(await desk.attempts(refund_id)) == 1

    ctx = await desk.claim((await desk.refund(refund_id)).run_id)
    assert isinstance(await desk.handle(ctx), Recorded)
    assert len(sandbox.refunds()) == 1
    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_a_worker_that_dies_after_the_call_has_paid_once(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    dying = Interrupted(http_gateway)
    dying.after = WorkerDied()
    refund_id = await desk.add_refund()

    with pytest.raises(WorkerDied):
        await desk.with_gateway(dying).pay(refund_id)
    [made] = sandbox.refunds()

    await desk.handle(await desk.claim((await desk.refund(refund_id)).run_id))
    assert [each["id"] for each in sandbox.refunds()] == [made["id"]]
    assert sandbox.creates() == 2
    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made["id"])


async def test_a_worker_that_dies_after_the_call_a_day_ago_is_resolved_by_the_books(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    dying = Interrupted(http_gateway)
    dying.after = WorkerDied()
    refund_id = await desk.add_refund()
    with pytest.raises(WorkerDied):
        await desk.with_gateway(dying).pay(refund_id)
    sandbox.advance(25 * 3600)
    await desk.age_attempts(refund_id, timedelta(hours=25))

    await desk.handle(await desk.claim((await desk.refund(refund_id)).run_id))
    assert len(sandbox.refunds()) == 1
    assert sandbox.creates() == 1
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(7)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_worker_that_wakes_too_late_pays_nothing_twice_and_writes_nothing(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway, moment: str
) -> None:
    stopped = Interrupted(http_gateway)
    wake = asyncio.Event()
    setattr(stopped, moment, wake)
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    sleeper = desk.with_gateway(stopped)
    late = asyncio.create_task(sleeper.handle(await sleeper.claim(run_id)))
    await asyncio.wait_for(stopped.reached.wait(), 10)

    await desk.handle(await desk.claim(run_id))  # its lease ran out, and another worker has the run
    before = await desk.refund(refund_id)
    [made] = sandbox.refunds()
    sandbox.settle(made["id"], "failed", "declined")
    wake.set()

    assert isinstance(await asyncio.wait_for(late, 10), Fenced)
    after = await desk.refund(refund_id)
    assert (after.status, after.updated_at, after.run_attempt) == ("succeeded", before.updated_at, 2)
    assert len(sandbox.refunds()) == 1


@pytest.mark.rule(7)
async def test_a_late_worker_cannot_note_its_failed_call_either(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    stopped = Interrupted(http_gateway)
    wake = asyncio.Event()
    stopped.before = wake
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    sleeper = desk.with_gateway(stopped)
    late = asyncio.create_task(sleeper.handle(await sleeper.claim(run_id)))
    await asyncio.wait_for(stopped.reached.wait(), 10)
    current = await desk.claim(run_id)  # the new worker has claimed, and done nothing yet
    sandbox.fault("status", status=400, body={"error": {"type": "invalid_request_error", "code": "no"}})
    wake.set()

    assert isinstance(await asyncio.wait_for(late, 10), Fenced)
    assert (await desk.refund(refund_id)).status == "processing"
    assert [attempt.outcome for attempt in await desk.attempts(refund_id)] == [None]
    await desk.handle(current)
    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_a_database_that_is_away_after_the_call_pays_once(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    cut = Interrupted(http_gateway)
    refund_id = await desk.add_refund()
    cut.after = wake = asyncio.Event()
    worker = desk.with_gateway(cut)
    await desk.sweep()
    ctx = await worker.claim((await desk.refund(refund_id)).run_id)
    paying = asyncio.create_task(worker.handle(ctx))
    await asyncio.wait_for(cut.reached.wait(), 10)
    async with desk.database.engine.begin() as db:
        await db.exec_driver_sql("ALTER TABLE refunds RENAME TO refunds_away")
    wake.set()
    assert isinstance(await asyncio.wait_for(paying, 10), DBAPIError)
    async with desk.database.engine.begin() as db:
        await db.exec_driver_sql("ALTER TABLE refunds_away RENAME TO refunds")

    cut.after = None
    assert (await desk.run(ctx.run.id)).state == "pending"
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"
    assert len(sandbox.refunds()) == 1
