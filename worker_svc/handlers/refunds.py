"""The sweep over waiting refunds, and the payment of one.

A run may end at any point, in a crash too: every step can be repeated. What is on record decides how to go on, and the
step that cannot be repeated, the call, has its key on record first.

    take the refund            its row names this run and attempt
    check the currency         before the first attempt only
    commit an attempt          processing; the key is on record
    call Stripe                only with a lease that can be trusted
    settle                     the refund, the attempt and the run, in one transaction
"""

from datetime import timedelta
from uuid import UUID

from shared.core import refunds as core
from shared.core.errors import PermanentError
from shared.core.jobspec import NoArgs
from shared.core.outcomes import Cancel, Done, Outcome, Snooze
from shared.core.states import LIVE
from shared.db import refund_work, refunds
from shared.db.refund_steps import Take, Taken
from shared.jobs import RefundArgs
from shared.ports import CredentialsRejected, OutcomeUnknown
from worker_svc.context import JobContext
from worker_svc.handlers.refund_payment import Payment
from worker_svc.handlers.refund_settling import let_go

SWEEP_PAGE = 1000
#: How long a refund waits while another one of its payment is being paid.
BUSY_S = 10.0


async def process_pending_refunds(ctx: JobContext, _: NoArgs) -> Done:
    """One run for each refund that waits and has none alive, page by page, each page committed and pushed (rule 28)."""
    cursor: refunds.Cursor | None = None
    enqueued = parked = 0
    while True:
        async with ctx.services.database.session() as session:
            await refund_work.hold_run(session, ctx.run.id, ctx.run.attempt)
            page = await refunds.sweep(session, after=cursor, most=SWEEP_PAGE)
        await ctx.services.enqueuer.push_now(ctx.run.queue, page.messages)
        for refund_id in page.parked:
            ctx.log.error("refund_parked", refund_id=str(refund_id), reason="its runs keep dying")
        enqueued += len(page.messages)
        parked += len(page.parked)
        cursor = page.cursor
        if cursor is None:
            return Done({"enqueued": enqueued, "parked": parked})


async def process_refund(ctx: JobContext, args: RefundArgs) -> Outcome:
    """Pays one refund, once, or finds out what became of an earlier try."""
    taken = await _take(ctx, args.refund_id)
    if not isinstance(taken, Taken):
        return taken
    payment = Payment(ctx, taken)
    try:
        return await payment.go_on()
    except refund_work.PaymentBusy:
        return Snooze(timedelta(seconds=BUSY_S), "another refund of this payment is being paid")
    except OutcomeUnknown as error:
        # Of a reading call: one to create a refund is judged where it is made.
        return await payment.after_unknown_reading(error)
    except CredentialsRejected as error:
        return await payment.after_forbidden_reading(error)


async def _take(ctx: JobContext, refund_id: UUID) -> Taken | Outcome:
    """The refund, which names this attempt from now on; or why there is nothing to do."""
    asked = Take(refund_id, ctx.run.id, ctx.run.attempt)
    return await ctx.services.refund_steps.take(asked) or await _take_alone(ctx, refund_id)


async def _take_alone(ctx: JobContext, refund_id: UUID) -> Taken | Outcome:
    """A run that the refund does not name (enqueued by hand) adopts it only if the named one is gone (rule 28)."""
    async with ctx.services.database.session() as session:
        refund = await refund_work.locked(session, refund_id)
        if refund is None:
            raise PermanentError(f"there is no refund {refund_id}")
        cancelled = await refund_work.hold_run(session, ctx.run.id, ctx.run.attempt)
        if refund.status not in core.WAITING:
            return await ctx.complete(session, Cancel(f"the refund is {refund.status}"))
        if refund.run_id != ctx.run.id and await refund_work.run_state(session, refund.run_id) in LIVE:
            return await ctx.complete(session, Cancel(f"run {refund.run_id} has this refund"))
        refund.run_id, refund.run_attempt = ctx.run.id, ctx.run.attempt
        sent = await refund_work.sent(session, refund.id, refund.generation)
        if cancelled and not sent.unresolved:
            return await let_go(ctx, session, refund)
        await session.flush()
        return Taken(refund, sent, await refund_work.is_busy(session, refund))
