"""A gateway whose callers die or fall asleep around the call."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from shared.ports import PaymentIntent, ProviderRefund, RefundGateway


class WorkerDied(BaseException):
    """Nothing of the worker runs after this."""


class Interrupted(RefundGateway):
    """The real gateway; something happens around its call to create."""

    def __init__(self, inner: RefundGateway) -> None:
        self.inner = inner
        self.before: asyncio.Event | BaseException | None = None
        self.after: asyncio.Event | BaseException | None = None
        self.reached = asyncio.Event()

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        await self._happen(self.before)
        made = await self.inner.create(
            payment_intent_id=payment_intent_id,
            amount=amount,
            reason=reason,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        await self._happen(self.after)
        return made

    async def _happen(self, what: asyncio.Event | BaseException | None) -> None:
        if what is not None:
            self.reached.set()
        if isinstance(what, asyncio.Event):
            await what.wait()
        elif what is not None:
            raise what

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        return await self.inner.retrieve(refund_id)

    def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        return self.inner.list_for(payment_intent_id)

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        return await self.inner.payment_intent(payment_intent_id)

    async def check(self) -> None:
        await self.inner.check()
