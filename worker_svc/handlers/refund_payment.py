"""Paying one refund, by one attempt of the run that has it."""

from datetime import timedelta

from shared.core import refunds as core
from shared.core.errors import RateLimited
from shared.core.outcomes import Outcome, Retry, Snooze
from shared.core.refunds import Failure, Otherwise, RefundStatus, Verdict
from shared.db import refund_work
from shared.db.refund_steps import Taken
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
from worker_svc.handlers.refund_settling import Settling, asked_for, let_go
from worker_svc.handlers.stripe_calls import StripeCalls


class Payment:
    """What is on record decides how to go on; every step can be repeated, the call with the same key.

    Raises refund_work.PaymentBusy, and what reading calls raise: hand those to `after_…_reading`.
    """

    def __init__(self, ctx: JobContext, taken: Taken) -> None:
        self._ctx = ctx
        self._taken = taken
        self._refund = refund = taken.refund
        self._log = ctx.log.bind(refund_id=str(refund.id), generation=refund.generation)
        self.calls = StripeCalls(ctx)
        self._settling = Settling(ctx, refund, self._log)
        self._unresolved = taken.sent.unresolved

    @property
    def _last(self) -> bool:
        return self._ctx.run.attempt >= self._ctx.run.max_attempts

    async def go_on(self) -> Outcome:
        if self._taken.busy and not self._unresolved:
            raise refund_work.PaymentBusy(self._refund.payment_intent_id)
        if not core.may_send(self._taken.sent.first):
            return await self._look_or(
                Otherwise.REVIEW, "the first attempt is too old for its key to be sent again"
            )
        if not self._unresolved:
            stop = await self._check_payment()
            if stop is not None:
                return await self._settling.decide(stop)
            # What the person saw who opened this generation may have changed since.
            shown = await self._look() if self._refund.generation > 1 else None
            if shown is not None:
                return shown
        await self.calls.turn()
        stopped = await self._start()
        return await self._pay() if stopped is None else stopped

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

    async def _start(self) -> Outcome | None:
        """Puts the attempt on record; or why there is none now."""
        self._settling.attempt_id = await self._ctx.services.refund_steps.start(self._refund)
        return None if self._settling.attempt_id is not None else await self._start_alone()

    async def _start_alone(self) -> Outcome | None:
        async with self._ctx.services.database.session() as session:
            refund = await self._settling.mine(session)
            cancelled = await refund_work.hold_run(session, self._ctx.run.id, self._ctx.run.attempt)
            if cancelled and not self._unresolved:
                return await let_go(self._ctx, session, refund)
            if asked_for(refund) != asked_for(self._refund):
                return Snooze(timedelta(0), "it was edited meanwhile, and is checked again")
            self._refund = refund  # what is sent is what the attempt freezes
            sent = await refund_work.sent(session, refund.id, refund.generation)
            if not core.may_send(sent.first):
                # It became too old while it waited for its turn.
                return Snooze(timedelta(0), "the key's 23 hours have just passed")
            attempt_id = await refund_work.start_attempt(
                session, refund, self._ctx.run.id, self._ctx.run.attempt
            )
        self._settling.attempt_id = attempt_id
        return None

    async def _pay(self) -> Outcome:
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
        if self._unresolved:
            # The key repeats what Stripe said at first: by now the refund may have failed.
            answer = await self.calls.retrieve(answer.id) or answer
        return await self._settling.apply(answer, self._refund)

    async def _after(self, failure: Failure, error: Exception) -> Outcome:
        """The call failed: note it, see whether anybody is served, then go by the table."""
        self._log.warning("refund_call_failed", failure=failure.value, error=str(error))
        await self._settling.note(_outcome(failure, error), error)
        if failure in (Failure.UNKNOWN, Failure.FORBIDDEN):
            await self.calls.pause_if_nobody_is_served(error)
        step = core.after_failure(failure, unresolved=self._unresolved, last=self._last)
        if step.look:
            return await self._look_or(step.otherwise, str(error))
        return await self._otherwise(step.otherwise, str(error))

    async def _look_or(self, otherwise: Otherwise, why: str) -> Outcome:
        shown = await self._look()
        return await self._otherwise(otherwise, why) if shown is None else shown

    async def _look(self) -> Outcome | None:
        """What Stripe shows with our metadata, applied; None: nothing but what is void, of earlier generations."""
        found = await self.calls.ours(self._refund)
        same = [each for each in found if self._generation(each) == self._refund.generation]
        others = [each for each in found if each not in same and each.status not in core.VOID]
        if len(same) == 1 and not others:
            return await self._settling.apply(same[0], self._refund)
        if same or others:
            ids = ", ".join(f"{each.id} ({each.status})" for each in same + others)
            text = f"Stripe shows refunds with its metadata that should not be there: {ids}"
            return await self._settling.decide(
                Verdict(RefundStatus.NEEDS_REVIEW, review_reason=text, alarm="refund_unexpected_at_stripe")
            )
        return None

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
