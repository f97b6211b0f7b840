"""A Stripe that misbehaves, alone and while workers die: its books show each refund once (invariant M)."""

import random
from contextlib import suppress

import pytest

from shared.core.errors import PauseKind, PauseQueue
from shared.core.outcomes import Recorded, Retry
from shared.ports import RefundGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.wire.interrupted import Interrupted, WorkerDied
from tests.stripe_sandbox import StripeSandbox


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
