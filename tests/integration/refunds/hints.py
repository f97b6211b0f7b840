"""Refunds that are paid, and webhooks about them."""

from uuid import UUID

from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours


async def paid(desk: Desk, stripe: FakeGateway, status: str = "succeeded") -> tuple[UUID, str]:
    """A refund that Stripe has told as `status`; its id there."""
    stripe.first_status = status
    refund_id = await desk.add_refund(amount=10)
    await desk.pay(refund_id)
    made = (await desk.refund(refund_id)).provider_refund_id
    assert made is not None
    return refund_id, made


async def hint(desk: Desk, refund_id: UUID, made: str, status: str, generation: int = 1) -> str:
    return await desk.event(
        "refund.updated", {"id": made, "status": status, "metadata": ours(refund_id, generation)}
    )
