"""Workers that die, wake too late, or meet a Stripe that misbehaves: its books show each refund once (invariant M)."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from shared.core.errors import Fenced, PauseKind, PauseQueue
from shared.core.outcomes import Recorded, Retry
from shared.db.engine import Database
from shared.ports import PaymentIntent, ProviderRefund, RefundGateway
from tests.integration.refunds.desk import Desk
from tests.stripe_sandbox import StripeSandbox


class WorkerDied(BaseException):
    """Nothing of the worker runs after this."""


class Interrupted(RefundGateway):
    """The real gateway; something happens around its call to create."""

    def __init__(self, inner: RefundGateway) -> None:
        self.inner = inner
        self.before: asyncio.Event | BaseException | None = None
        self.after: asyncio.Event | BaseException | None = None
        self.reached = asyncio.Event()

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        await self._happen(self.before)
        made = await self.inner.create(
            payment_intent_id=payment_intent_id,
            amount=amount,
            reason=reason,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        await self._happen(self.after)
        return made

    async def _happen(self, what: asyncio.Event | BaseException | None) -> None:
        if what is not None:
            self.reached.set()
        if isinstance(what, asyncio.Event):
            await what.wait()
        elif what is not None:
            raise what

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        return await self.inner.retrieve(refund_id)

    def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        return self.inner.list_for(payment_intent_id)

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        return await self.inner.payment_intent(payment_intent_id)

    async def check(self) -> None:
        await self.inner.check()


@pytest.fixture
async def desk(database: Database, http_gateway: RefundGateway) -> AsyncIterator[Desk]:
    made = Desk(database, http_gateway)
    yield made
    await made.enqueuer.close()


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


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "drop_before"},
        {"mode": "drop_after"},
        {"mode": "status", "status": 500, "commit": False, "saved": False},
        {"mode": "status", "status": 500, "commit": True, "saved": True},
        {"mode": "status", "status": 503, "commit": True, "saved": False},
        {"mode": "status", "status": 409},
        {"mode": "rate_limit"},
    ],
    ids=str,
)
async def test_whatever_stripe_does_once_the_refund_is_paid_once(
    desk: Desk, sandbox: StripeSandbox, fault: dict[str, object]
) -> None:
    sandbox.fault(**fault)  # type: ignore[arg-type]  # a parameter's
    refund_id = await desk.add_refund()

    for _ in range(3):
        if (await desk.refund(refund_id)).status in ("pending", "processing"):
            await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"
    assert len(sandbox.refunds()) == 1


async def test_a_500_that_stripe_repeats_for_ever_goes_to_a_person(
    desk: Desk, sandbox: StripeSandbox
) -> None:
    sandbox.fault("status", status=500, commit=False, saved=True)
    refund_id = await desk.add_refund()
    await desk.sweep()
    await desk.set_run((await desk.refund(refund_id)).run_id, max_attempts=3)

    assert isinstance(await desk.pay(refund_id), Retry)
    assert isinstance(await desk.pay(refund_id), Retry)
    assert isinstance(await desk.pay(refund_id), Recorded)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert sandbox.refunds() == []


async def test_a_stripe_that_is_gone_pauses_the_queue(desk: Desk, sandbox: StripeSandbox) -> None:
    sandbox.fault("drop_before", match={}, times=20)
    refund_id = await desk.add_refund()

    answer = await desk.pay(refund_id)
    assert isinstance(answer, PauseQueue)
    assert answer.kind is PauseKind.OUTAGE

    sandbox.clear_faults()
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_a_storm_of_faults_and_deaths_pays_every_refund_once(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    """Twenty refunds of ten payments; half of the calls go wrong, workers die before and after them."""
    chance = random.Random(7)
    for n in range(10):
        sandbox.add_intent(f"pi_storm{n}", amount=1_000)
    ids = [await desk.add_refund(f"pi_storm{n % 10}", amount=300) for n in range(20)]
    for mode in ("drop_before", "drop_after"):
        sandbox.fault(mode, probability=0.15)
    sandbox.fault("status", status=502, commit=True, saved=False, probability=0.15)
    sandbox.fault("status", status=503, probability=0.1)
    for _ in range(60):
        waiting = [each for each in ids if (await desk.refund(each)).status in ("pending", "processing")]
        if not waiting:
            break
        await desk.sweep()
        for refund_id in waiting:
            worker = Interrupted(http_gateway)
            worker.before = WorkerDied() if chance.random() < 0.1 else None
            worker.after = WorkerDied() if chance.random() < 0.2 else None
            ctx = await desk.with_gateway(worker).claim((await desk.refund(refund_id)).run_id)
            with suppress(WorkerDied):
                await desk.handle(ctx)

    assert [(await desk.refund(each)).status for each in ids] == ["succeeded"] * 20
    assert sandbox.books()["doubled"] == []
    assert sandbox.books()["refunded"] == {"usd": 20 * 300}
    assert sandbox.creates() > 20
