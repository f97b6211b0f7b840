"""Attacks on webhooks and reconciliation: poison among what is read, readings that overtake each other."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.core.outcomes import Done
from shared.ports import OutcomeUnknown, ProviderRefund
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

pytestmark = pytest.mark.rule(29)


async def submitted(desk: Desk, stripe: FakeGateway) -> tuple[UUID, str]:
    stripe.first_status = "pending"
    refund_id = await desk.add_refund(amount=10)
    await desk.pay(refund_id)
    made = (await desk.refund(refund_id)).provider_refund_id
    assert made is not None
    return refund_id, made


async def test_one_refund_that_cannot_be_read_does_not_hold_up_the_others(
    desk: Desk, stripe: FakeGateway
) -> None:
    (poison, bad), (refund_id, made) = await submitted(desk, stripe), await submitted(desk, stripe)
    await desk.set_refund(poison, reconciled_at=None)
    await desk.set_refund(refund_id, reconciled_at=text("now() - interval '1 hour'"))
    stripe.settle(made, "succeeded")
    retrieve = stripe.retrieve

    async def refused(provider_refund_id: str) -> ProviderRefund | None:
        if provider_refund_id == bad:
            raise OutcomeUnknown("500, for this one, always")
        return await retrieve(provider_refund_id)

    stripe.retrieve = refused  # type: ignore[assignment,method-assign]  # a Stripe that errs
    for _ in range(2):
        await desk.reconcile()

    assert (await desk.refund(refund_id)).status == "succeeded"
    poisoned = await desk.refund(poison)
    assert poisoned.status == "submitted"
    assert poisoned.reconciled_at is not None  # to the back of the line
    assert desk.logged("refund_unreadable")


async def test_a_reading_that_was_overtaken_is_not_applied(desk: Desk, stripe: FakeGateway) -> None:
    """Two events at once: the one that reads first is the last to write."""
    refund_id, made = await submitted(desk, stripe)
    metadata = {"refund_id": str(refund_id), "generation": "1"}
    first = await desk.event("refund.updated", {"id": made, "metadata": metadata})
    second = await desk.event("refund.failed", {"id": made, "metadata": metadata})
    retrieve = stripe.retrieve

    async def overtaken(provider_refund_id: str) -> ProviderRefund | None:
        found = await retrieve(provider_refund_id)
        stripe.retrieve = retrieve  # type: ignore[method-assign]  # once
        stripe.settle(made, "failed", "declined")
        await desk.tell(second)
        return found

    stripe.retrieve = overtaken  # type: ignore[assignment,method-assign]  # watched, not changed
    await desk.tell(first)

    assert (await desk.refund(refund_id)).status == "failed"
    assert desk.logged("refund_paid_though_failed") == []
    await desk.tell(first)
    assert (await desk.stored_event(first)).outcome == "unchanged"
    assert (await desk.refund(refund_id)).status == "failed"


async def test_a_refund_that_succeeded_again_is_watched_from_then_on(desk: Desk, stripe: FakeGateway) -> None:
    """It succeeded, failed after 29 days, was paid again: the thirty days begin again."""
    refund_id = await desk.add_refund(
        amount=10, generation=2, succeeded_at=text("now() - interval '40 days'")
    )
    await desk.pay(refund_id)
    [made] = stripe.refunds
    stripe.settle(made, "failed")
    await desk.set_refund(refund_id, reconciled_at=text("now() - interval '2 days'"))

    assert await desk.reconcile() == Done({"read": 1, "changed": 1})
    assert (await desk.refund(refund_id)).status == "needs_review"


async def test_a_hint_about_a_refund_made_by_hand_in_our_name_raises_an_alarm(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, _ = await submitted(desk, stripe)
    by_hand = stripe.add_refund("pi_1", 10, {"refund_id": str(refund_id)})
    event = await desk.event("refund.created", {"id": by_hand.id, "metadata": dict(by_hand.metadata)})

    await desk.tell(event)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_unexpected_at_stripe")


async def test_an_event_waits_no_longer_than_five_minutes_for_a_busy_payment(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", OutcomeUnknown("cut"), after=True)
    await desk.pay(refund_id)
    [made] = stripe.refunds
    metadata = {"refund_id": str(refund_id), "generation": "1"}
    event = await desk.event("refund.created", {"id": made, "metadata": metadata}, age=timedelta(minutes=6))

    await desk.tell(event)

    assert (await desk.stored_event(event)).outcome == "left_to_its_run"
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"
