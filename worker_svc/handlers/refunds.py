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

from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.errors import PermanentError, RateLimited
from shared.core.jobspec import NoArgs
from shared.core.outcomes import Cancel, Done, Outcome, Recorded, Retry, Snooze
from shared.core.refunds import Failure, Otherwise, RefundStatus, Verdict
from shared.core.states import LIVE
from shared.db import refunds
from shared.db.models import Refund
from shared.jobs import RefundArgs
from shared.ports import (
    AlreadyRefunded,
    CredentialsRejected,
    KeyConflict,
    OutcomeUnknown,
    ProviderRefund,
    RefundRefused,
    Unreachable,
)
from worker_svc.context import JobContext
from worker_svc.handlers.refund_settling import Settling
from worker_svc.handlers.stripe_calls import StripeCalls

SWEEP_PAGE = 1000
#: How long a refund waits while another one of its payment is being paid.
BUSY_S = 10.0


async def process_pending_refunds(ctx: JobContext, _: NoArgs) -> Done:
    """One run for each refund that waits and has none alive, page by page, each page committed and pushed (rule 28)."""
    cursor: refunds.Cursor | None = None
    enqueued = parked = 0
    while True:
        async with ctx.services.database.session() as session:
            await refunds.hold_run(session, ctx.run.id, ctx.run.attempt)
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
    if not isinstance(taken, Refund):
        return taken
    payment = _Payment(ctx, taken)
    try:
        return await payment.go_on()
    except refunds.PaymentBusy:
        return Snooze(timedelta(seconds=BUSY_S), "another refund of this payment is being paid")
    except OutcomeUnknown as error:
        # Of a reading call: one to create a refund is judged where it is made.
        return await payment.after_unknown_reading(error)
    except CredentialsRejected as error:
        return await payment.after_forbidden_reading(error)


async def _take(ctx: JobContext, refund_id: UUID) -> Refund | Outcome:
    """The refund, which names this attempt from now on; or why there is nothing to do.

    A run that the refund does not name (enqueued by hand) adopts it only if the named one is gone (rule 28).
    """
    async with ctx.services.database.session() as session:
        refund = await refunds.locked(session, refund_id)
        if refund is None:
            raise PermanentError(f"there is no refund {refund_id}")
        cancelled = await refunds.hold_run(session, ctx.run.id, ctx.run.attempt)
        if refund.status not in core.WAITING:
            return await ctx.complete(session, Cancel(f"the refund is {refund.status}"))
        if refund.run_id != ctx.run.id and await refunds.run_state(session, refund.run_id) in LIVE:
            return await ctx.complete(session, Cancel(f"run {refund.run_id} has this refund"))
        refund.run_id, refund.run_attempt = ctx.run.id, ctx.run.attempt
        if cancelled and not (await refunds.sent(session, refund.id, refund.generation)).unresolved:
            return await _let_go(ctx, session, refund)
        await session.flush()
    return refund


async def _let_go(ctx: JobContext, session: AsyncSession, refund: Refund) -> Recorded:
    """Cancelling a run is not cancelling its refund: that one is approved, and the next sweep gives it another run."""
    refund.status = RefundStatus.PENDING.value
    await session.flush()
    return await ctx.complete(session, Cancel("cancelled on request; the refund still waits to be paid"))


class _Payment:
    """One attempt at one refund that the row gives to this run."""

    def __init__(self, ctx: JobContext, refund: Refund) -> None:
        self._ctx = ctx
        self._refund = refund
        self._log = ctx.log.bind(refund_id=str(refund.id), generation=refund.generation)
        self.calls = StripeCalls(ctx)
        self._settling = Settling(ctx, refund, self._log)
        self._unresolved = False

    @property
    def _last(self) -> bool:
        return self._ctx.run.attempt >= self._ctx.run.max_attempts

    async def go_on(self) -> Outcome:
        async with self._ctx.services.database.begin() as connection:
            sent = await refunds.sent(connection, self._refund.id, self._refund.generation)
        self._unresolved = sent.unresolved
        if not core.may_send(sent.first):
            return await self._look(
                Otherwise.REVIEW, "the first attempt is too old for its key to be sent again"
            )
        if not sent.unresolved:
            stop = await self._check_payment()
            if stop is not None:
                return await self._settling.decide(stop)
        return await self._pay()

    async def _check_payment(self) -> Verdict | None:
        """Card refunds ignore the currency, so that a wrong one would pay a wrong amount (rule 25)."""
        found = await self.calls.payment_intent(self._refund.payment_intent_id)
        if found is None:
            return Verdict(
                RefundStatus.FAILED,
                failure_reason=f"resource_missing: no payment intent {self._refund.payment_intent_id}",
            )
        if found.currency.lower() != self._refund.currency.lower():
            text = f"it is in {self._refund.currency}, the payment is in {found.currency}: nothing was sent"
            return Verdict(RefundStatus.NEEDS_REVIEW, review_reason=text)
        return None

    async def _pay(self) -> Outcome:
        await self.calls.turn()
        async with self._ctx.services.database.session() as session:
            refund = await self._settling.mine(session)
            cancelled = await refunds.hold_run(session, self._ctx.run.id, self._ctx.run.attempt)
            if cancelled and not self._unresolved:
                return await _let_go(self._ctx, session, refund)
            sent = await refunds.sent(session, refund.id, refund.generation)
            if not core.may_send(sent.first):
                # It became too old while it waited for its turn.
                return Snooze(timedelta(0), "the key's 23 hours have just passed")
            attempt_id = await refunds.start_attempt(session, refund, self._ctx.run.id, self._ctx.run.attempt)
        self._settling.attempt_id = attempt_id
        try:
            answer = await self.calls.create(self._refund)
        except RateLimited as error:
            await self._settling.note("rate_limited", error)
            raise
        except CredentialsRejected as error:
            return await self._after(Failure.FORBIDDEN, error)
        except AlreadyRefunded as error:
            return await self._after(Failure.ALREADY_REFUNDED, error)
        except RefundRefused as error:
            return await self._after(Failure.REFUSED, error)
        except KeyConflict as error:
            return await self._after(Failure.KEY_CONFLICT, error)
        except OutcomeUnknown as error:
            return await self._after(Failure.UNKNOWN, error)
        return await self._settling.apply(answer)

    async def _after(self, failure: Failure, error: Exception) -> Outcome:
        """The call failed: note it, see whether anybody is served, then go by the table."""
        self._log.warning("refund_call_failed", failure=failure.value, error=str(error))
        await self._settling.note(_outcome(failure, error), error)
        if failure in (Failure.UNKNOWN, Failure.FORBIDDEN):
            await self.calls.pause_if_nobody_is_served(error)
        step = core.after_failure(failure, unresolved=self._unresolved, last=self._last)
        if step.look:
            return await self._look(step.otherwise, str(error))
        return await self._otherwise(step.otherwise, str(error))

    async def _look(self, otherwise: Otherwise, why: str) -> Outcome:
        """What does Stripe show with our metadata?"""
        found = await self.calls.ours(self._refund)
        same = [each for each in found if self._generation(each) == self._refund.generation]
        if len(same) == 1:
            return await self._settling.apply(same[0])
        in_force = [each for each in found if each.status not in core.VOID]
        if len(same) > 1 or in_force:
            ids = ", ".join(f"{each.id} ({each.status})" for each in same or in_force)
            text = f"Stripe shows refunds with its metadata that should not be there: {ids}"
            return await self._settling.decide(
                Verdict(RefundStatus.NEEDS_REVIEW, review_reason=text, alarm="refund_unexpected_at_stripe")
            )
        return await self._otherwise(otherwise, why)

    def _generation(self, found: ProviderRefund) -> int | None:
        return core.generation_of(found.metadata, self._refund.id)

    async def _otherwise(self, otherwise: Otherwise, why: str) -> Outcome:
        match otherwise:
            case Otherwise.RETRY:
                return Retry(why)
            case Otherwise.FAIL:
                return await self._settling.decide(Verdict(RefundStatus.FAILED, failure_reason=why))
            case Otherwise.REVIEW:
                return await self._settling.decide(Verdict(RefundStatus.NEEDS_REVIEW, review_reason=why))

    async def after_unknown_reading(self, error: Exception) -> Outcome:
        """A reading call failed. With the last attempt and money unknown, a person looks; a dead run alone would hide it."""
        await self.calls.pause_if_nobody_is_served(error)
        unresolved = self._unresolved or self._settling.attempt_id is not None
        return await self._otherwise(
            Otherwise.REVIEW if self._last and unresolved else Otherwise.RETRY, str(error)
        )

    async def after_forbidden_reading(self, error: Exception) -> Outcome:
        """The key is good, and Stripe does not let it read what this refund needs: a person's to sort out."""
        await self.calls.pause_if_nobody_is_served(error)
        return await self._otherwise(Otherwise.REVIEW, f"the key is good, but not for this refund: {error}")


def _outcome(failure: Failure, error: Exception) -> str | None:
    """What is kept of a failed attempt; None: nobody knows."""
    if isinstance(error, Unreachable):
        return "not_sent"
    return None if failure is Failure.UNKNOWN else failure.value
