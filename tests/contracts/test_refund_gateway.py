"""What every RefundGateway does: the fake that other tests use, and the real one against the Stripe sandbox."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from shared.core.errors import ConfigError, RateLimited
from shared.ports import (
    AlreadyRefunded,
    CredentialsRejected,
    KeyConflict,
    OutcomeUnknown,
    ProviderRefund,
    RefundGateway,
    RefundRefused,
    Unreachable,
)
from shared.providers.stripe_gateway import StripeGateway
from shared.settings import StripeSettings
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


@pytest.fixture(params=[fake_provider, real_provider], ids=["fake", "stripe"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    make: Callable[[], contextmanager[Provider]] = request.param  # type: ignore[valid-type]  # a pytest parameter
    with make() as made:
        made.add_intent("pi_1", 10_000, "usd")
        yield made
        await made.gateway.close()


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


async def test_a_refund_is_told_as_it_was_asked_for(provider: Provider) -> None:
    made = await create(provider, reason="requested_by_customer")

    assert (made.payment_intent_id, made.amount, made.currency) == ("pi_1", 4_000, "usd")
    assert (made.status, made.failure_reason) == ("succeeded", None)
    assert dict(made.metadata) == {"refund_id": "r1", "generation": "1"}
    assert await provider.gateway.retrieve(made.id) == made


async def test_the_same_key_pays_once(provider: Provider) -> None:
    first, second = await create(provider), await create(provider)

    assert first.id == second.id
    assert provider.count("pi_1") == 1


async def test_another_key_pays_again_although_the_amount_is_the_same(provider: Provider) -> None:
    assert (await create(provider)).id != (await create(provider, key="key-2")).id


async def test_a_key_with_other_parameters_is_a_conflict_and_pays_nothing(provider: Provider) -> None:
    await create(provider)

    with pytest.raises(KeyConflict):
        await create(provider, amount=4_001)
    assert provider.count("pi_1") == 1


@pytest.mark.parametrize(("paid", "asked"), [(10_000, 1), (8_000, 2_001)])
async def test_more_than_is_left_is_already_refunded(provider: Provider, paid: int, asked: int) -> None:
    await create(provider, amount=paid)

    with pytest.raises(AlreadyRefunded):
        await create(provider, amount=asked, key="key-2")


async def test_a_payment_that_does_not_exist_is_refused_with_the_providers_code(provider: Provider) -> None:
    with pytest.raises(RefundRefused, match="resource_missing") as refused:
        await create(provider, payment_intent_id="pi_nobody")
    assert not isinstance(refused.value, AlreadyRefunded)


async def test_what_does_not_exist_reads_as_none(provider: Provider) -> None:
    assert await provider.gateway.retrieve("re_nobody") is None
    assert await provider.gateway.payment_intent("pi_nobody") is None


async def test_a_payment_without_refunds_is_told_from_one_that_does_not_exist(provider: Provider) -> None:
    assert await listed(provider) == []
    with pytest.raises(OutcomeUnknown, match="pi_nobody"):
        await listed(provider, "pi_nobody")


async def test_a_payment_intent_tells_its_currency(provider: Provider) -> None:
    provider.add_intent("pi_eur", 777, "eur")

    found = await provider.gateway.payment_intent("pi_eur")

    assert found is not None
    assert (found.id, found.amount, found.currency) == ("pi_eur", 777, "eur")


async def test_a_payments_refunds_are_listed_newest_first_past_the_first_page(provider: Provider) -> None:
    provider.add_intent("pi_many", 1_000, "usd")
    made = [(await create(provider, 1, payment_intent_id="pi_many", key=f"k{n}")).id for n in range(103)]
    await create(provider)

    assert [refund.id for refund in await listed(provider, "pi_many")] == made[::-1]


async def test_a_refund_that_failed_later_says_why(provider: Provider) -> None:
    made = await create(provider)
    provider.settle(made.id, "failed", "lost_or_stolen_card")

    found = await provider.gateway.retrieve(made.id)

    assert found is not None
    assert (found.status, found.failure_reason) == ("failed", "lost_or_stolen_card")


async def test_a_connection_cut_before_the_work_is_unknown_and_one_try_only(provider: Provider) -> None:
    provider.cut_before()

    with pytest.raises(OutcomeUnknown):
        await create(provider)
    assert provider.count("pi_1") == 0


async def test_a_connection_cut_after_the_work_is_unknown_and_the_same_key_finds_it(
    provider: Provider,
) -> None:
    provider.cut_after()

    with pytest.raises(OutcomeUnknown):
        await create(provider)
    [paid] = await listed(provider)
    assert (await create(provider)).id == paid.id
    assert provider.count("pi_1") == 1


async def test_too_many_requests_are_limited_not_refused(provider: Provider) -> None:
    provider.limit_rate()

    with pytest.raises(RateLimited) as limited:
        await create(provider)
    assert limited.value.retry_after_s > 0
    assert provider.count("pi_1") == 0


async def test_a_rejected_key_fails_the_check_too(provider: Provider) -> None:
    provider.reject_key()

    with pytest.raises(CredentialsRejected):
        await create(provider)
    with pytest.raises(CredentialsRejected):
        await provider.gateway.check()


async def test_one_refund_that_is_forbidden_leaves_the_key_good(provider: Provider) -> None:
    provider.forbid_refunding()

    with pytest.raises(CredentialsRejected):
        await create(provider)
    await provider.gateway.check()


async def test_a_provider_that_does_not_answer_is_unknown_to_every_call(provider: Provider) -> None:
    provider.go_away()
    gateway = provider.gateway

    for call in (create(provider), gateway.retrieve("re_1"), gateway.payment_intent("pi_1"), gateway.check()):
        with pytest.raises(OutcomeUnknown):
            await call
    with pytest.raises(OutcomeUnknown):
        await listed(provider)


# ---------------------------------------------------------------------------------- what only the real one can do wrong


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (500, None, OutcomeUnknown),
        (502, None, OutcomeUnknown),
        (409, None, OutcomeUnknown),
        (403, None, CredentialsRejected),
        (402, None, RefundRefused),
        (400, {"error": {"type": "idempotency_error", "message": "other parameters"}}, KeyConflict),
        (400, {"error": {"type": "invalid_request_error", "code": "charge_disputed"}}, RefundRefused),
        (400, {"not": "Stripe's"}, OutcomeUnknown),
        (418, None, OutcomeUnknown),
    ],
)
async def test_an_error_status_means_what_it_means_for_money(
    status: int, body: dict[str, object] | None, meaning: type[Exception]
) -> None:
    with stripe_sandbox() as sandbox:
        sandbox.add_intent("pi_1")
        sandbox.fault("status", status=status, body=body)
        provider = Real(sandbox)
        with pytest.raises(meaning) as raised:
            await create(provider)
        assert type(raised.value) is meaning
        await provider.gateway.close()


async def test_an_answer_that_comes_too_late_is_unknown() -> None:
    with stripe_sandbox() as sandbox:
        sandbox.add_intent("pi_1")
        sandbox.fault("delay", delay_s=5)
        provider = Real(sandbox)
        provider.gateway = sandbox.gateway(timeout_s=0.2)
        with pytest.raises(OutcomeUnknown):
            await create(provider)
        assert provider.count("pi_1") == 1
        await provider.gateway.close()


async def test_a_connection_that_never_came_about_has_sent_nothing() -> None:
    with stripe_sandbox() as sandbox:
        provider = Real(sandbox)
    with pytest.raises(Unreachable):
        await create(provider)
    await provider.gateway.close()


def test_without_a_key_there_is_no_gateway() -> None:
    with pytest.raises(ConfigError, match="STRIPE_API_KEY"):
        StripeGateway(StripeSettings(stripe_api_key=None))
