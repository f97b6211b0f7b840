"""Applying what Stripe says of a refund that no run works on: after a webhook's hint, and in reconciliation (rule 29)."""

from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.refunds import RefundStatus, Verdict
from shared.db import refund_work
from shared.db.models import Refund
from shared.ports import ProviderRefund


async def apply_reading(session: AsyncSession, refund: Refund, found: ProviderRefund) -> Verdict | None:
    """Writes what `found` makes of the locked row, and returns it; None: nothing but the time it was read.

    Log the verdict after the commit.
    """
    verdict = core.judge_reading(
        RefundStatus(refund.status),
        named=refund.provider_refund_id,
        ever_succeeded=refund.succeeded_at is not None,
        found=found.id,
        told=found.status,
        failure_reason=found.failure_reason,
    )
    if verdict is None:
        await refund_work.note_read(session, refund.id)
        return None
    await refund_work.settle(
        session,
        refund,
        verdict,
        refund_work.Owner(refund.run_id, refund.run_attempt),
        provider_refund_id=refund.provider_refund_id or found.id,
    )
    return verdict
