"""Attacks on decisions: taken with another account's key, at the wrong moment, twice at once, against other decisions."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from shared import refund_review
from shared.core.errors import BadInput
from shared.core.refund_review import Decision
from shared.db import ledger
from shared.ports import OutcomeUnknown, RefundGateway
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox

pytestmark = pytest.mark.rule(24)


async def resolve(desk: Desk, refund_id: UUID, decision: Decision) -> refund_review.RefundView:
    return await refund_review.resolve(
        desk.database, desk.enqueuer, desk.gateway, refund_id, decision, actor="cli:eve", note="note"
    )


async def unclear(desk: Desk, *, hours: float) -> UUID:
    """In review, its first attempt so long ago, and nobody knows what came of it."""
    refund_id = await desk.add_refund()
    await desk.pay(refund_id)
    await desk.set_run((await desk.refund(refund_id)).run_id, state="succeeded")
    await desk.set_refund(refund_id, status="needs_review", review_reason="unclear")
    await desk.age_attempts(refund_id, timedelta(hours=hours))
    return refund_id


@pytest.mark.parametrize("decision", list(Decision))
async def test_nothing_is_decided_with_the_key_of_another_account(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway, decision: Decision
) -> None:
    """There the payment has no refunds, because there is no such payment."""
    sandbox.fault("drop_after")
    refund_id = await unclear(desk.with_gateway(http_gateway), hours=25)

    with stripe_sandbox(auto=False) as other:
        gateway = other.gateway()
        with pytest.raises(BadInput, match="cannot be read"):
            await resolve(desk.with_gateway(gateway), refund_id, decision)
        await gateway.close()

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.generation) == ("needs_review", 1)


@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.MARK_FAILED, Decision.MARK_SUCCEEDED])
async def test_a_refund_made_by_hand_in_its_name_is_in_the_way(
    desk: Desk, stripe: FakeGateway, decision: Decision
) -> None:
    stripe.fail_next("create", OutcomeUnknown("cut"))
    refund_id = await unclear(desk, hours=25)
    by_hand = stripe.add_refund("pi_1", 4_000, {"refund_id": str(refund_id)})

    with pytest.raises(BadInput, match="accept"):
        await resolve(desk, refund_id, decision)
    assert (await resolve(desk, refund_id, Decision.ACCEPT)).provider_refund_id == by_hand.id


async def test_of_two_people_who_decide_at_once_one_decides(desk: Desk, stripe: FakeGateway) -> None:
    stripe.fail_next("create", OutcomeUnknown("cut"))
    refund_id = await unclear(desk, hours=25)

    answers = await asyncio.gather(
        *(resolve(desk, refund_id, Decision.RETRY) for _ in range(4)), return_exceptions=True
    )

    assert sum(isinstance(answer, refund_review.RefundView) for answer in answers) == 1
    assert (await desk.refund(refund_id)).generation == 2
    await desk.pay(refund_id)
    await desk.sweep()
    assert await desk.live_runs() == 0
    assert stripe.paid("pi_1") == 4_000


async def test_a_replay_of_the_dead_run_beside_a_decision_pays_once(desk: Desk, stripe: FakeGateway) -> None:
    """`runs retry` on the old run and `refunds resolve … retry` at the same time: two runs live, one has the refund."""
    stripe.fail_next("create", OutcomeUnknown("cut"))
    refund_id = await unclear(desk, hours=25)
    old = (await desk.refund(refund_id)).run_id
    assert old is not None
    await desk.set_run(old, state="dead")
    await resolve(desk, refund_id, Decision.RETRY)
    async with desk.database.begin() as db:
        assert await ledger.replay(db, old, more_attempts=10) is not None

    replayed = await desk.claim(old)
    await desk.handle(replayed)
    await desk.pay(refund_id)

    assert (await desk.run(old)).state == "cancelled"
    assert stripe.keys_sent[1:] == [f"refund-{refund_id}-2"]
    assert stripe.paid("pi_1") == 4_000


async def test_a_worker_that_sleeps_through_a_decision_writes_nothing(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    """It wakes with its answer after a person has opened the next generation: Stripe's book decides that one."""
    worker = desk.with_gateway(http_gateway)
    sandbox.fault("drop_before")
    refund_id = await unclear(worker, hours=25)
    sandbox.advance(25 * 3600)
    await resolve(worker, refund_id, Decision.RETRY)
    # The sleeper's request, on its way for a day, arrives only now: its key is forgotten, and it pays.
    await http_gateway.create(
        payment_intent_id="pi_1",
        amount=4_000,
        reason=None,
        metadata={"refund_id": str(refund_id), "generation": "1"},
        idempotency_key=f"refund-{refund_id}-1",
    )

    await worker.pay(refund_id)

    assert len(sandbox.refunds()) == 1
    assert (await desk.refund(refund_id)).status == "needs_review"
    assert (await resolve(worker, refund_id, Decision.ACCEPT)).status == "succeeded"
