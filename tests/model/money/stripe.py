"""Stripe as it may behave at its worst within what it promises."""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.core.errors import RateLimited
from shared.core.refunds import VOID
from shared.ports import (
    AlreadyRefunded,
    CredentialsRejected,
    KeyConflict,
    OutcomeUnknown,
    PaymentIntent,
    ProviderRefund,
    RefundGateway,
    RefundRefused,
    Unreachable,
)
from tests.model.money import stage as words
from tests.model.money.stage import Stage

KEY_KEPT = timedelta(hours=24)
#: A list shows what is older than this; with LATEST it stays below the hour between the last resend and a new generation.
LAG = timedelta(minutes=10)


class SimStripe(RefundGateway):
    """Keys are kept for 24 hours from when they took effect; `webhooks` are those not delivered yet."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._numbers = itertools.count(1)
        self._keys: dict[str, tuple[datetime, Any, ProviderRefund | Exception]] = {}
        self.intents: dict[str, PaymentIntent] = {}
        self.refunds: dict[str, ProviderRefund] = {}
        self.made: dict[str, datetime] = {}
        self.sent: list[tuple[str, int]] = []  # keys of requests to create, and amounts
        self.webhooks: list[Mapping[str, Any]] = []
        self.first_status = "succeeded"
        self.refuses: set[str] = set()  # payment intents whose refunds are declined
        self.keeps_refusals = True  # as answers of their keys; Stripe does so for some

    # ------------------------------------------------------------------------------------------------- for scenarios

    def paying(self, *, refund_id: object = None, intent: str | None = None) -> list[ProviderRefund]:
        """Refunds in force of one of our ids, or of a payment intent."""
        return [
            r
            for r in self.refunds.values()
            if r.status not in VOID
            and (refund_id is None or r.metadata.get("refund_id") == str(refund_id))
            and (intent is None or r.payment_intent_id == intent)
        ]

    def settle(self, refund_id: str, status: str) -> None:
        self._stage.say(f"Stripe: {refund_id} becomes {status}")
        reason = "declined" if status == "failed" else None
        self.refunds[refund_id] = replace(self.refunds[refund_id], status=status, failure_reason=reason)
        self._tell(refund_id)

    def add(self, intent: str, amount: int, metadata: Mapping[str, str]) -> ProviderRefund:
        """A new refund; without our metadata somebody else's."""
        made = ProviderRefund(
            id=f"re_{next(self._numbers)}",
            payment_intent_id=intent,
            amount=amount,
            currency=self.intents[intent].currency,
            status=self.first_status,
            failure_reason=None,
            metadata=dict(metadata),
        )
        self.refunds[made.id], self.made[made.id] = made, self._stage.now
        self._stage.say(f"Stripe: {made.id} of {amount} on {intent} {dict(metadata)}")
        self._tell(made.id)
        return made

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
        params = (payment_intent_id, amount, tuple(sorted(metadata.items())))
        self.sent.append((idempotency_key, amount))

        def request(keep: Exception | None = None) -> ProviderRefund:
            return self._create(idempotency_key, params, keep)

        word = await self._call(f"create {idempotency_key[-8:]}", request)
        if word == words.CONFLICT:
            raise OutcomeUnknown("409: the key is in use")
        if word == words.SERVER_ERROR and not self._knows(idempotency_key):
            request(OutcomeUnknown("500"))
            raise OutcomeUnknown("500")
        if word == words.LOST_AFTER:
            self._unheard(request)
            raise OutcomeUnknown("cut")
        return request()

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        await self._call(f"retrieve {refund_id}")
        return self.refunds.get(refund_id)

    async def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        word = await self._call(f"list {payment_intent_id}")
        for each in reversed(list(self.refunds.values())):
            young = self._stage.now - self.made[each.id] < LAG
            if each.payment_intent_id == payment_intent_id and not (word == words.LAG and young):
                yield each

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        await self._call(f"payment intent {payment_intent_id}")
        return self.intents.get(payment_intent_id)

    async def check(self) -> None:
        await self._call("check")

    async def close(self) -> None: ...

    async def _call(self, label: str, request: Callable[[], object] | None = None) -> str:
        """Raises what the word says before anything is done."""
        late = None if request is None else lambda: self._unheard(request)
        word = await self._stage.point(f"Stripe {label}", late)
        if word == words.BUSY:
            raise RateLimited("429")
        if word == words.FORBIDDEN:
            raise CredentialsRejected("403")
        if word == words.UNREACHABLE:
            raise Unreachable("no connection")
        if word == words.LATE and late is not None:
            self._stage.leave_under_way(f"Stripe {label}", late)
        if word in (words.LOST_BEFORE, words.LATE):
            raise OutcomeUnknown("cut")
        if request is None and word in (words.SERVER_ERROR, words.LOST_AFTER):
            raise OutcomeUnknown("500")
        return word

    # ------------------------------------------------------------------------------------------------------ its books

    def _unheard(self, request: Callable[[], object]) -> None:
        try:
            request()
        except Exception as error:
            self._stage.say(f"Stripe: refused unheard: {error}")

    def _create(self, key: str, params: tuple[Any, ...], keep: Exception | None) -> ProviderRefund:
        _, known, answer = self._keys.get(key, (None, None, None))
        if not self._knows(key):
            answer = self._answer(*params)
            refused = isinstance(answer, Exception)
            if self.keeps_refusals or not refused:
                self._keys[key] = (self._stage.now, params, answer if refused else keep or answer)
        elif known != params:
            raise KeyConflict("the key was used with other parameters")
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    def _knows(self, key: str) -> bool:
        return key in self._keys and self._stage.now - self._keys[key][0] < KEY_KEPT

    def _answer(self, intent: str, amount: int, metadata: Any) -> ProviderRefund | Exception:
        left = self.intents[intent].amount - sum(each.amount for each in self.paying(intent=intent))
        if intent in self.refuses:
            return RefundRefused("insufficient_funds", "declined")
        if amount > left:
            return AlreadyRefunded("charge_already_refunded", f"{left} are left")
        return self.add(intent, amount, dict(metadata))

    def _tell(self, refund_id: str) -> None:
        found = self.refunds[refund_id]
        body = {"id": found.id, "status": found.status, "metadata": dict(found.metadata)}
        self.webhooks.append({"data": {"object": {"object": "refund", **body}}})
