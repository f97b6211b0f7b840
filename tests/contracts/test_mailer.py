"""What every Mailer does: the fake that other tests use, and the real one against the Brevo sandbox."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from local_stack.ports import free_port
from shared.core.errors import LeaseExpired, RateLimited
from shared.ports import (
    DuplicateKey,
    Mailer,
    MailPaused,
    MailRefused,
    MailVersion,
    OutcomeUnknown,
    Unreachable,
)
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.fakes.mailer import FakeMailer


class Provider(Protocol):
    """A mailer, and what its provider is made to do."""

    mailer: Mailer

    def addresses(self) -> list[str]: ...
    def cut_before(self) -> None: ...
    def cut_after(self) -> None: ...
    def limit_rate(self) -> None: ...
    def answer(self, status: int) -> None: ...


class Fake:
    def __init__(self) -> None:
        self.fake = FakeMailer()
        self.mailer: Mailer = self.fake

    def addresses(self) -> list[str]:
        return sorted(mail.version.email for mail in self.fake.mails)

    def cut_before(self) -> None:
        self.fake.fail_next("send_batch", OutcomeUnknown("cut"))

    def cut_after(self) -> None:
        self.fake.fail_next("send_batch", OutcomeUnknown("cut"), after=True)

    def limit_rate(self) -> None:
        self.fake.fail_next("send_batch", RateLimited("429"))

    def answer(self, status: int) -> None:
        self.fake.fail_always(MailPaused(status, "turned away"))


class Real:
    def __init__(self, sandbox: BrevoSandbox) -> None:
        self._sandbox = sandbox
        self.mailer: Mailer = sandbox.mailer()

    def addresses(self) -> list[str]:
        return self._sandbox.addresses()

    def cut_before(self) -> None:
        self._sandbox.fault("drop_before")

    def cut_after(self) -> None:
        self._sandbox.fault("drop_after")

    def limit_rate(self) -> None:
        self._sandbox.fault("rate_limit")

    def answer(self, status: int) -> None:
        self._sandbox.fault("status", match={}, status=status, times=100)


@contextmanager
def fake_provider() -> Iterator[Provider]:
    yield Fake()


@contextmanager
def real_provider() -> Iterator[Provider]:
    with brevo_sandbox() as sandbox:
        yield Real(sandbox)


@pytest.fixture(params=[fake_provider, real_provider], ids=["fake", "brevo"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    make: Callable[[], contextmanager[Provider]] = request.param  # type: ignore[valid-type]  # a pytest parameter
    with make() as made:
        yield made
        await made.mailer.close()


def mails(*names: str) -> list[MailVersion]:
    return [
        MailVersion(f"{name}@example.com", name.title(), f"For {name}", f"<p>{name}</p>", name)
        for name in names
    ]


async def send(provider: Provider, *names: str, tag: str = "tag-1", key: UUID | None = None) -> list[str]:
    return list(await provider.mailer.send_batch(mails(*names), tag=tag, idempotency_key=key or uuid4()))


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


@pytest.mark.rule(32)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, MailRefused),
        (413, MailRefused),
        (404, MailPaused),
        (405, MailPaused),
        (408, OutcomeUnknown),
        (409, OutcomeUnknown),
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
    ],
)
async def test_only_answers_about_content_count_as_a_refusal_of_the_mail(
    status: int, expected: type[Exception]
) -> None:
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer()
        sandbox.fault("status", status=status)

        with pytest.raises(expected):
            await mailer.send_batch(mails("ann", "bob"), tag="t", idempotency_key=uuid4())
        await mailer.close()


async def test_one_call_is_one_request_whatever_is_answered() -> None:
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer()
        for status in (408, 429, 500, 503):
            sandbox.fault("status", status=status)
            with pytest.raises((OutcomeUnknown, RateLimited)):
                await mailer.send_batch(mails("ann"), tag="t", idempotency_key=uuid4())
        await mailer.close()

        assert sandbox.sends() == {"408": 1, "429": 1, "500": 1, "503": 1}


async def test_an_answer_that_comes_too_late_is_unclear() -> None:
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer(timeout_s=0.2)
        sandbox.fault("delay", delay_s=1.0)

        with pytest.raises(OutcomeUnknown):
            await mailer.send_batch(mails("ann"), tag="t", idempotency_key=uuid4())
        await mailer.close()
        assert sandbox.addresses() == ["ann@example.com"]


async def test_where_nobody_listens_nothing_can_have_been_sent() -> None:
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer(url=f"http://127.0.0.1:{free_port()}/v3")

        with pytest.raises(Unreachable):
            await mailer.send_batch(mails("ann"), tag="t", idempotency_key=uuid4())
        await mailer.close()


async def test_the_reset_header_says_how_long_to_wait() -> None:
    with brevo_sandbox(batch_rate=1, rate=1000) as sandbox:
        mailer = sandbox.mailer()
        await mailer.send_batch(mails("ann", "bob"), tag="t", idempotency_key=uuid4())

        with pytest.raises(RateLimited) as limited:
            await mailer.send_batch(mails("ann", "bob"), tag="t", idempotency_key=uuid4())
        await mailer.close()
        assert limited.value.retry_after_s == 1.0


async def test_a_thousand_mails_and_all_their_events_are_read_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.providers.brevo_mailer.EVENTS_A_PAGE", 300)
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer()
        ids = await mailer.send_batch(
            mails(*(f"n{number}" for number in range(1000))), tag="big", idempotency_key=uuid4()
        )
        events = await mailer.events("big")
        await mailer.close()

        assert len(set(ids)) == 1000
        assert {event.message_id for event in events} == set(ids)


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
