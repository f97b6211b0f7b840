"""Re-reads refunds from Stripe: the backstop of its webhooks (rule 29)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from shared.core.jobspec import NoArgs
from shared.core.outcomes import Done, Outcome
from shared.core.refunds import RefundStatus, Verdict
from shared.db import refund_work
from shared.db.models import Refund
from shared.ports import CredentialsRejected, OutcomeUnknown, ProviderRefund
from worker_svc.context import JobContext
from worker_svc.handlers.refund_reading import apply_reading
from worker_svc.handlers.refund_settling import tell_verdict
from worker_svc.handlers.stripe_calls import StripeCalls

#: What a run reads at most, and how often each refund comes up: those that wait at Stripe, then those that may fail yet.
_READ: Final = (
    (RefundStatus.SUBMITTED, timedelta(minutes=1), 500),
    (RefundStatus.SUCCEEDED, timedelta(days=1), 500),
)


async def reconcile_refunds(ctx: JobContext, _: NoArgs) -> Outcome:
    """Reads and applies, one refund after the other; a run that is cut short goes on with the oldest next time."""
    calls = StripeCalls(ctx)
    read = changed = 0
    for status, every, most in _READ:
        async with ctx.services.database.begin() as connection:
            due = await refund_work.due_for_reading(connection, status, every=every, most=most)
        for refund_id in due:
            try:
                changed += await _read(ctx, calls, refund_id, status)
            except (OutcomeUnknown, CredentialsRejected) as error:
                await calls.pause_if_nobody_is_served(error)
                await _leave(ctx, refund_id, error)
            read += 1
    return Done({"read": read, "changed": changed})


async def _leave(ctx: JobContext, refund_id: UUID, error: Exception) -> None:
    """To the back of the line: one refund that cannot be read must not hold up all the others, run after run."""
    async with ctx.services.database.session() as session:
        await refund_work.note_read(session, refund_id)
    ctx.log.error("refund_unreadable", refund_id=str(refund_id), error=str(error))


async def _read(ctx: JobContext, calls: StripeCalls, refund_id: UUID, status: RefundStatus) -> bool:
    async with ctx.services.database.session() as session:
        refund = await session.get_one(Refund, refund_id)
    if refund.provider_refund_id is None:
        return False
    found = await calls.retrieve(refund.provider_refund_id)
    log = ctx.log.bind(refund_id=str(refund_id), provider_refund_id=refund.provider_refund_id)
    if found is None:
        # Stripe forgets no refund: the key is another account's, or the mode is another. No state is to be drawn from it.
        log.error("refund_missing_at_stripe")
    verdict = await _apply(ctx, refund_id, status, found)
    if verdict is not None:
        tell_verdict(log, verdict, refund.provider_refund_id)
    return verdict is not None


async def _apply(
    ctx: JobContext, refund_id: UUID, status: RefundStatus, found: ProviderRefund | None
) -> Verdict | None:
    async with ctx.services.database.session() as session:
        refund = await refund_work.locked(session, refund_id)
        await refund_work.hold_run(session, ctx.run.id, ctx.run.attempt)
        if refund is None or refund.status != status:
            return None  # somebody has moved it on since
        if found is None or found.id != refund.provider_refund_id:
            await refund_work.note_read(session, refund_id)
            return None
        return await apply_reading(session, refund, found)
