"""A Stripe in memory: it keeps books and idempotency keys, and fails when told to."""

import itertools
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from shared.ports import (
    AlreadyRefunded,
    KeyConflict,
    OutcomeUnknown,
    PaymentIntent,
    ProviderRefund,
    RefundGateway,
    RefundRefused,
)

Params = tuple[str, int, str | None, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Fault:
    """`after`: the work is done, and only then the error raised."""

    error: Exception
    after: bool = False


class FakeGateway(RefundGateway):
    """Passes the same contract as the real one (tests/contracts). `first_status` is that of new refunds."""

    def __init__(self) -> None:
        self.intents: dict[str, PaymentIntent] = {}
        self.refunds: dict[str, ProviderRefund] = {}
        self.calls: list[str] = []
        self.keys_sent: list[str] = []
        self.first_status = "succeeded"
        self.closed = False
        self._faults: dict[str, deque[Fault]] = {}
        self._standing: dict[str, Exception] = {}
        self._answers: dict[str, tuple[Params, ProviderRefund | RefundRefused]] = {}
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------------------------------- for the tests

    def add_intent(self, intent_id: str, amount: int = 10_000, currency: str = "usd") -> None:
        self.intents[intent_id] = PaymentIntent(intent_id, amount, currency)

    def fail_next(self, call: str, error: Exception, *, after: bool = False, times: int = 1) -> None:
        """The next calls of this name raise; `after`: having done their work."""
        self._faults.setdefault(call, deque()).extend([Fault(error, after)] * times)

    def fail_always(self, call: str, error: Exception | None) -> None:
        """Every call of this name raises, until told otherwise with None."""
        self._standing.pop(call, None)
        if error is not None:
            self._standing[call] = error

    def settle(self, refund_id: str, status: str, failure_reason: str | None = None) -> None:
        self.refunds[refund_id] = replace(
            self.refunds[refund_id], status=status, failure_reason=failure_reason
        )

    def add_refund(
        self,
        intent_id: str,
        amount: int,
        metadata: Mapping[str, str] | None = None,
        status: str = "succeeded",
    ) -> ProviderRefund:
        """One that this system did not ask for, or that it has forgotten."""
        refund = ProviderRefund(
            id=f"re_fake{next(self._numbers):06d}",
            payment_intent_id=intent_id,
            amount=amount,
            currency=self.intents[intent_id].currency,
            status=status,
            failure_reason=None,
            metadata=dict(metadata or {}),
        )
        self.refunds[refund.id] = refund
        return refund

    def forget_keys(self) -> None:
        """As after 24 hours."""
        self._answers.clear()

    def paid(self, intent_id: str) -> int:
        """Minor units refunded and in force."""
        return sum(
            r.amount
            for r in self.refunds.values()
            if r.payment_intent_id == intent_id and r.status not in ("failed", "canceled")
        )

    # ------------------------------------------------------------------------------------------------------ the port

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        self.keys_sent.append(idempotency_key)
        fault = self._begin("create")
        params = (payment_intent_id, amount, reason, tuple(sorted(metadata.items())))
        known = self._answers.get(idempotency_key)
        if known is not None and known[0] != params:
            raise KeyConflict("the key was used with other parameters")
        answer = known[1] if known is not None else self._create(*params)
        self._answers[idempotency_key] = (params, answer)
        if fault is not None:
            raise fault.error
        if isinstance(answer, RefundRefused):
            raise answer
        return answer

    def _create(
        self, intent_id: str, amount: int, _: str | None, metadata: tuple[tuple[str, str], ...]
    ) -> ProviderRefund | RefundRefused:
        intent = self.intents.get(intent_id)
        if intent is None:
            return RefundRefused("resource_missing", f"No such payment_intent: '{intent_id}'")
        left = intent.amount - self.paid(intent_id)
        if left <= 0:
            return AlreadyRefunded("charge_already_refunded", "the charge has already been refunded")
        if amount > left:
            return AlreadyRefunded("", f"{amount} is greater than unrefunded amount on charge ({left})")
        return self.add_refund(intent_id, amount, dict(metadata), self.first_status)

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        self._begin("retrieve")
        return self.refunds.get(refund_id)

    async def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        self._begin("list_for")
        if payment_intent_id not in self.intents:
            raise OutcomeUnknown(f"there is no {payment_intent_id}")
        for refund in reversed(list(self.refunds.values())):
            if refund.payment_intent_id == payment_intent_id:
                yield refund

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        self._begin("payment_intent")
        return self.intents.get(payment_intent_id)

    async def check(self) -> None:
        self._begin("check")

    async def close(self) -> None:
        self.closed = True

    def _begin(self, call: str) -> Fault | None:
        """Counts the call and raises what is due before the work; what is due after it is returned."""
        self.calls.append(call)
        if call in self._standing:
            raise self._standing[call]
        waiting = self._faults.get(call)
        if not waiting:
            return None
        fault = waiting.popleft()
        if not fault.after:
            raise fault.error
        return fault
