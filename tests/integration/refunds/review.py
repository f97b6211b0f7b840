"""Refunds in review, and decisions about them."""

from uuid import UUID

from sqlalchemy import text

from shared import refund_review
from shared.core.refund_review import Decision
from shared.ports import OutcomeUnknown
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk


async def resolve(desk: Desk, refund_id: UUID, decision: str, note: str = "") -> refund_review.RefundView:
    return await refund_review.resolve(
        desk.database,
        desk.enqueuer,
        desk.gateway,
        refund_id,
        Decision(decision),
        actor="cli:ann",
        note=note,
    )


async def unclear(desk: Desk, stripe: FakeGateway, *, paid: bool = False) -> UUID:
    """A refund in review: its one call was cut, and Stripe was not asked since."""
    refund_id = await desk.add_refund()
    stripe.fail_next("create", OutcomeUnknown("cut"), after=paid)
    await desk.pay(refund_id)
    await desk.set_run((await desk.refund(refund_id)).run_id, state="succeeded")
    await desk.set_refund(refund_id, status="needs_review", review_reason="unclear")
    return refund_id


async def failed_later(desk: Desk, stripe: FakeGateway) -> UUID:
    """A refund that succeeded, and failed days later."""
    refund_id = await desk.add_refund()
    await desk.pay(refund_id)
    [made] = stripe.refunds
    stripe.settle(made, "failed", "expired_or_canceled_card")
    await desk.set_refund(refund_id, reconciled_at=text("now() - interval '2 days'"))
    await desk.reconcile()
    assert (await desk.refund(refund_id)).status == "needs_review"
    return refund_id
