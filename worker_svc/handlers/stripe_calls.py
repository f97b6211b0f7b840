"""Stripe's calls as a run makes them: in turn with all other workers, and only while its lease can be trusted (rule 7)."""

from collections.abc import Awaitable
from enum import StrEnum
from typing import TypeVar

from shared.core import refunds
from shared.core.errors import PauseKind, PauseQueue, RateLimited
from shared.db.models import Refund
from shared.failpoints import Point, failpoint
from shared.ports import CredentialsRejected, OutcomeUnknown, PaymentIntent, ProviderRefund
from worker_svc.context import JobContext

T = TypeVar("T")

#: Of all requests together.
LIMIT = "stripe"
#: A run that gets no turn within this time is snoozed, at no cost.
WAIT_FOR_TURN_S = 15.0


class Endpoint(StrEnum):
    """Stripe limits each by itself, besides all requests together."""

    REFUNDS = "stripe:refunds"
    PAYMENT_INTENTS = "stripe:payment_intents"


class StripeCalls:
    """Raises what the gateway raises; a 429 slows everybody down before it goes on."""

    def __init__(self, context: JobContext) -> None:
        self._lease = context.lease
        self._services = context.services

    async def turn(self, endpoint: Endpoint = Endpoint.REFUNDS) -> None:
        """Waits for a turn of the shared rates: the endpoint's, then that of all requests. Raises RateLimited."""
        services = self._services
        await services.limiter.acquire(
            endpoint, rate_per_s=services.stripe_rate_per_s, timeout_s=WAIT_FOR_TURN_S
        )
        await services.limiter.acquire(
            LIMIT, rate_per_s=services.stripe_total_rate_per_s, timeout_s=WAIT_FOR_TURN_S
        )

    async def create(self, refund: Refund) -> ProviderRefund:
        """Pays, with the key of the refund's generation. Take the `turn` before the attempt is committed: one that is on
        record and was never sent would age for nothing."""
        return await self._now(self._create(refund))

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        await self.turn(Endpoint.PAYMENT_INTENTS)
        return await self._now(self._services.gateway.payment_intent(payment_intent_id))

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        await self.turn()
        return await self._now(self._services.gateway.retrieve(refund_id))

    async def ours(self, refund: Refund) -> list[ProviderRefund]:
        """The refunds of the payment that carry this refund's id, of any generation, newest first."""
        await self.turn()
        return await self._now(self._list(refund))

    async def pause_if_nobody_is_served(self, error: Exception) -> None:
        """Is it this refund, or the key, or Stripe? Raises PauseQueue for the latter two, and the queue waits instead of
        burning the attempts of every refund in it (rule 23)."""
        try:
            await self.turn()
            await self._now(self._services.gateway.check())
        except CredentialsRejected as rejected:
            raise PauseQueue(PauseKind.CREDENTIALS, f"Stripe rejects the key: {rejected}") from error
        except OutcomeUnknown as unknown:
            raise PauseQueue(PauseKind.OUTAGE, f"Stripe does not answer: {unknown}") from error
        except RateLimited:
            return  # somebody is served

    async def _create(self, refund: Refund) -> ProviderRefund:
        failpoint(Point.STRIPE_BEFORE_CALL)
        made = await self._services.gateway.create(
            payment_intent_id=refund.payment_intent_id,
            amount=refund.amount,
            reason=refund.reason,
            metadata=refunds.metadata(refund.id, refund.generation),
            idempotency_key=refunds.idempotency_key(refund.id, refund.generation),
        )
        failpoint(Point.STRIPE_ANSWERED)
        return made

    async def _list(self, refund: Refund) -> list[ProviderRefund]:
        return [
            found
            async for found in self._services.gateway.list_for(refund.payment_intent_id)
            if refunds.names(found.metadata, refund.id)
        ]

    async def _now(self, call: Awaitable[T]) -> T:
        try:
            self._lease.check()
        except BaseException:
            if hasattr(call, "close"):
                call.close()  # a coroutine that will not be awaited
            raise
        try:
            return await call
        except RateLimited as limited:
            await self._services.limiter.slow_down(LIMIT, limited.retry_after_s)
            raise
