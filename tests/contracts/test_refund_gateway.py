"""What every RefundGateway does: the fake that other tests use, and the real one against the Stripe sandbox."""

from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager

import pytest

from shared.core.errors import RateLimited
from shared.ports import AlreadyRefunded, CredentialsRejected, KeyConflict, OutcomeUnknown, RefundRefused
from tests.contracts.refund_gateways import Provider, create, fake_provider, listed, real_provider


@pytest.fixture(params=[fake_provider, real_provider], ids=["fake", "stripe"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    make: Callable[[], contextmanager[Provider]] = request.param  # type: ignore[valid-type]  # a pytest parameter
    with make() as made:
        made.add_intent("pi_1", 10_000, "usd")
        yield made
        await made.gateway.close()


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
