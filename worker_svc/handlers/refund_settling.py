"""What a run writes about the refund it works on: the refund, its attempt and the run's end, in one transaction."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from structlog.stdlib import BoundLogger

from shared.core import refunds as core
from shared.core.errors import Fenced
from shared.core.outcomes import Cancel, Done, Recorded
from shared.core.refunds import RefundStatus, Verdict
from shared.db import refund_work
from shared.db.ledger import Finished
from shared.db.models import Refund
from shared.db.refund_steps import Settle
from shared.ports import ProviderRefund
from worker_svc.context import JobContext
from worker_svc.decisions import decide_for


class Settling:
    """Every write checks that the refund names this attempt, and that the attempt still has the run (rule 7)."""

    def __init__(self, ctx: JobContext, refund: Refund, log: BoundLogger) -> None:
        self._ctx = ctx
        self._refund_id = refund.id
        self._owner = refund_work.Owner(ctx.run.id, ctx.run.attempt)
        self._log = log
        #: The attempt on record, once there is one.
        self.attempt_id: UUID | None = None

    async def mine(self, session: AsyncSession) -> Refund:
        """The row, locked. Raises Fenced where it is not this attempt's any more."""
        refund = await refund_work.locked(session, self._refund_id)
        if (
            refund is None
            or (refund.run_id, refund.run_attempt) != (self._owner.run_id, self._owner.attempt)
            or refund.status not in core.WAITING
        ):
            raise Fenced(f"refund {self._refund_id} is somebody else's now")
        return refund

    async def note(self, outcome: str | None, error: Exception) -> None:
        """What a failed call came to; the refund waits on."""
        if self.attempt_id is None:
            return
        async with self._ctx.services.database.session() as session:
            await self.mine(session)
            await refund_work.hold_run(session, self._ctx.run.id, self._ctx.run.attempt)
            await refund_work.end_attempt(session, self.attempt_id, outcome=outcome, error=str(error))

    async def apply(self, found: ProviderRefund, seen: Refund) -> Recorded:
        """Stripe has the refund: as the answer to a call, or in a list with our metadata. `seen`: what was asked for."""
        if self.attempt_id is not None and await self._apply_together(found, seen, self.attempt_id):
            return Recorded()
        async with self._ctx.services.database.session() as session:
            refund = await self.mine(session)
            verdict = _judge(refund, found)
            if self.attempt_id is not None:
                await refund_work.end_attempt(
                    session, self.attempt_id, outcome=verdict.status.value, provider_refund_id=found.id
                )
            recorded = await self._end(session, refund, verdict, found.id)
        self._tell(verdict, found.id)
        return recorded

    async def _apply_together(self, found: ProviderRefund, seen: Refund, attempt_id: UUID) -> bool:
        """What an attempt has asked for is frozen, and the rest of what is judged by is compared when it is written."""
        run, verdict = self._ctx.run, _judge(seen, found)
        decision = decide_for(run, _done(verdict, found.id))
        step = Settle(seen, attempt_id, found.id, verdict, Finished(run.id, run.attempt, decision))
        settled = await self._ctx.services.refund_steps.settle(step)
        if settled:
            self._tell(verdict, found.id)
        return settled

    async def decide(self, verdict: Verdict) -> Recorded:
        """Stripe has no refund, or none that can be trusted."""
        async with self._ctx.services.database.session() as session:
            refund = await self.mine(session)
            recorded = await self._end(session, refund, verdict, None)
        self._tell(verdict, None)
        return recorded

    async def _end(
        self, session: AsyncSession, refund: Refund, verdict: Verdict, provider_refund_id: str | None
    ) -> Recorded:
        await refund_work.settle(session, refund, verdict, self._owner, provider_refund_id=provider_refund_id)
        return await self._ctx.complete(session, _done(verdict, provider_refund_id))

    def _tell(self, verdict: Verdict, provider_refund_id: str | None) -> None:
        tell_verdict(self._log, verdict, provider_refund_id)


async def let_go(ctx: JobContext, session: AsyncSession, refund: Refund) -> Recorded:
    """Cancelling a run is not cancelling its refund: that one is approved, and the next sweep gives it another run."""
    refund.status = RefundStatus.PENDING.value
    await session.flush()
    return await ctx.complete(session, Cancel("cancelled on request; the refund still waits to be paid"))


def tell_verdict(log: BoundLogger, verdict: Verdict, provider_refund_id: str | None) -> None:
    """One line about what a refund has become; at error level where a person is needed."""
    fields = {
        "status": verdict.status.value,
        "provider_refund_id": provider_refund_id,
        "reason": verdict.review_reason or verdict.failure_reason,
    }
    if verdict.alarm is not None:
        log.error(verdict.alarm, **fields)
    elif verdict.status is RefundStatus.NEEDS_REVIEW:
        log.error("refund_needs_review", **fields)
    else:
        log.info("refund_settled", **fields)


def _done(verdict: Verdict, provider_refund_id: str | None) -> Done:
    return Done({"status": verdict.status.value, "provider_refund_id": provider_refund_id})


def _judge(refund: Refund, found: ProviderRefund) -> Verdict:
    wrong = mismatch(refund, found)
    if wrong is not None:
        return Verdict(RefundStatus.NEEDS_REVIEW, review_reason=wrong, alarm="refund_mismatch")
    verdict = core.judge(
        RefundStatus.PROCESSING,
        ever_succeeded=refund.succeeded_at is not None,
        told=found.status,
        failure_reason=found.failure_reason,
    )
    assert verdict is not None, "every status of Stripe's makes something of a refund that is being paid"
    return verdict


def asked_for(refund: Refund) -> tuple[str, int, str]:
    """Payment intent, amount and currency: others may change them until there is an attempt (rule 25)."""
    return refund.payment_intent_id, refund.amount, refund.currency.lower()


def mismatch(refund: Refund, found: ProviderRefund) -> str | None:
    """How a refund at Stripe differs from what was asked for (rule 25); None: not at all."""
    asked = asked_for(refund)
    made = (found.payment_intent_id, found.amount, found.currency.lower())
    return None if asked == made else f"asked for {asked}, and Stripe's {found.id} is {made}"
