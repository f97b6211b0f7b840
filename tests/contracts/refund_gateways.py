"""Two gateways and what their providers are made to do: the fake, and the real one against the Stripe sandbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shared.core.errors import RateLimited
from shared.ports import (
    CredentialsRejected,
    OutcomeUnknown,
    ProviderRefund,
    RefundGateway,
)
from tests.fakes.gateway import FakeGateway
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox


class Provider(Protocol):
    """A gateway, and what its provider is made to do."""

    gateway: RefundGateway

    def add_intent(self, intent_id: str, amount: int, currency: str) -> None: ...
    def count(self, intent_id: str) -> int: ...
    def settle(self, refund_id: str, status: str, failure_reason: str | None) -> None: ...
    def cut_before(self) -> None: ...
    def cut_after(self) -> None: ...
    def limit_rate(self) -> None: ...
    def reject_key(self) -> None: ...
    def forbid_refunding(self) -> None: ...
    def go_away(self) -> None: ...


class Fake:
    def __init__(self) -> None:
        self.gateway = FakeGateway()

    def add_intent(self, intent_id: str, amount: int, currency: str) -> None:
        self.gateway.add_intent(intent_id, amount, currency)

    def count(self, intent_id: str) -> int:
        return sum(r.payment_intent_id == intent_id for r in self.gateway.refunds.values())

    def settle(self, refund_id: str, status: str, failure_reason: str | None) -> None:
        self.gateway.settle(refund_id, status, failure_reason)

    def cut_before(self) -> None:
        self.gateway.fail_next("create", OutcomeUnknown("cut"))

    def cut_after(self) -> None:
        self.gateway.fail_next("create", OutcomeUnknown("cut"), after=True)

    def limit_rate(self) -> None:
        self.gateway.fail_next("create", RateLimited("429"))

    def reject_key(self) -> None:
        for call in ("create", "retrieve", "payment_intent", "list_for", "check"):
            self.gateway.fail_always(call, CredentialsRejected("401"))

    def forbid_refunding(self) -> None:
        self.gateway.fail_next("create", CredentialsRejected("403"))

    def go_away(self) -> None:
        for call in ("create", "retrieve", "payment_intent", "list_for", "check"):
            self.gateway.fail_always(call, OutcomeUnknown("away"))


class Real:
    def __init__(self, sandbox: StripeSandbox) -> None:
        self._sandbox = sandbox
        self.gateway = sandbox.gateway()

    def add_intent(self, intent_id: str, amount: int, currency: str) -> None:
        self._sandbox.add_intent(intent_id, amount, currency)

    def count(self, intent_id: str) -> int:
        return len(self._sandbox.refunds(intent_id))

    def settle(self, refund_id: str, status: str, failure_reason: str | None) -> None:
        self._sandbox.settle(refund_id, status, failure_reason)

    def cut_before(self) -> None:
        self._sandbox.fault("drop_before")

    def cut_after(self) -> None:
        self._sandbox.fault("drop_after")

    def limit_rate(self) -> None:
        self._sandbox.fault("rate_limit")

    def reject_key(self) -> None:
        self._sandbox.fault("status", match={}, status=401, times=100)

    def forbid_refunding(self) -> None:
        self._sandbox.fault("status", status=403)

    def go_away(self) -> None:
        self._sandbox.fault("drop_before", match={}, times=100)


@contextmanager
def real_provider() -> Iterator[Provider]:
    with stripe_sandbox() as sandbox:
        yield Real(sandbox)


@contextmanager
def fake_provider() -> Iterator[Provider]:
    yield Fake()


async def create(provider: Provider, amount: int = 4_000, **changes: str) -> ProviderRefund:
    return await provider.gateway.create(
        payment_intent_id=changes.get("payment_intent_id", "pi_1"),
        amount=amount,
        reason=changes.get("reason"),
        metadata={"refund_id": "r1", "generation": "1"},
        idempotency_key=changes.get("key", "key-1"),
    )


async def listed(provider: Provider, intent_id: str = "pi_1") -> list[ProviderRefund]:
    return [refund async for refund in provider.gateway.list_for(intent_id)]
