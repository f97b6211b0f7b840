"""What every Mailer does: the fake that other tests use, and the real one against the Brevo sandbox."""

from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from uuid import uuid4

import pytest

from shared.core.errors import LeaseExpired, RateLimited
from shared.ports import (
    DuplicateKey,
    MailPaused,
    MailRefused,
    MailVersion,
    OutcomeUnknown,
    Unreachable,
)
from tests.contracts.mailers import Provider, fake_provider, mails, real_provider, send


@pytest.fixture(params=[fake_provider, real_provider], ids=["fake", "brevo"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    make: Callable[[], contextmanager[Provider]] = request.param  # type: ignore[valid-type]  # a pytest parameter
    with make() as made:
        yield made
        await made.mailer.close()


async def test_a_batch_goes_to_each_address_once_and_each_mail_has_an_id_of_its_own(
    provider: Provider,
) -> None:
    ids = await send(provider, "ann", "bob", "cem")

    assert len(set(ids)) == 3
    assert provider.addresses() == ["ann@example.com", "bob@example.com", "cem@example.com"]


async def test_ids_come_in_the_order_of_the_mails(provider: Provider) -> None:
    ids = await send(provider, "zoe", "ann", "mia")

    told = {event.message_id: event.email for event in await provider.mailer.events("tag-1")}
    assert [told[each] for each in ids] == ["zoe@example.com", "ann@example.com", "mia@example.com"]


async def test_a_single_mail_has_its_id_too(provider: Provider) -> None:
    assert len(await send(provider, "ann")) == 1


async def test_a_name_may_be_empty(provider: Provider) -> None:
    nameless = [MailVersion("ann@example.com", "", "Hello", "<p>Hello</p>", "Hello")]

    assert len(await provider.mailer.send_batch(nameless, tag="t", idempotency_key=uuid4())) == 1


async def test_the_same_key_sends_once_and_says_so(provider: Provider) -> None:
    key = uuid4()
    await send(provider, "ann", "bob", key=key)

    with pytest.raises(DuplicateKey):
        await send(provider, "ann", "bob", key=key)
    assert provider.addresses() == ["ann@example.com", "bob@example.com"]


async def test_a_refused_address_sends_nothing_to_anybody_and_leaves_the_key_free(provider: Provider) -> None:
    key = uuid4()

    with pytest.raises(MailRefused, match="invalid_parameter"):
        await send(provider, "ann", "reject", "bob", key=key)
    assert provider.addresses() == []
    assert len(await send(provider, "ann", "bob", key=key)) == 2


async def test_events_are_those_of_the_tag_alone(provider: Provider) -> None:
    await send(provider, "ann", tag="tag-1")
    await send(provider, "bob", tag="tag-2")

    assert {event.email for event in await provider.mailer.events("tag-1")} == {"ann@example.com"}
    assert await provider.mailer.events("tag-3") == []


async def test_a_cut_before_the_work_is_unclear_and_the_same_key_then_sends(provider: Provider) -> None:
    provider.cut_before()
    key = uuid4()

    with pytest.raises(OutcomeUnknown) as unclear:
        await send(provider, "ann", key=key)
    assert not isinstance(unclear.value, Unreachable)
    await send(provider, "ann", key=key)
    assert provider.addresses() == ["ann@example.com"]


async def test_a_cut_after_the_work_is_unclear_and_the_same_key_then_sends_nothing(
    provider: Provider,
) -> None:
    provider.cut_after()
    key = uuid4()

    with pytest.raises(OutcomeUnknown):
        await send(provider, "ann", "bob", key=key)
    with pytest.raises(DuplicateKey):
        await send(provider, "ann", "bob", key=key)
    assert provider.addresses() == ["ann@example.com", "bob@example.com"]


async def test_too_many_requests_are_a_rate_limit_with_a_time_to_wait(provider: Provider) -> None:
    provider.limit_rate()

    with pytest.raises(RateLimited) as limited:
        await send(provider, "ann")
    assert limited.value.retry_after_s > 0
    assert provider.addresses() == []


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_an_account_that_is_turned_away_is_told_with_its_status(
    provider: Provider, status: int
) -> None:
    provider.answer(status)

    with pytest.raises(MailPaused) as paused:
        await send(provider, "ann", "bob")
    assert paused.value.status == status
    with pytest.raises(MailPaused):
        await provider.mailer.check()
    with pytest.raises(MailPaused):
        await provider.mailer.events("tag-1")


async def test_a_provider_that_serves_is_found_in_order(provider: Provider) -> None:
    await provider.mailer.check()


@pytest.mark.rule(7)
@pytest.mark.parametrize("names", [("ann",), ("ann", "bob")], ids=["one", "batch"])
async def test_a_call_that_may_not_leave_any_more_sends_nothing_and_spends_no_key(
    provider: Provider, names: tuple[str, ...]
) -> None:
    def too_late() -> None:
        raise LeaseExpired("too late")

    key = uuid4()
    with pytest.raises(LeaseExpired):
        await provider.mailer.send_batch(mails(*names), tag="t", idempotency_key=key, before_call=too_late)

    assert provider.addresses() == []
    await send(provider, *names, key=key)
    assert len(provider.addresses()) == len(names)
