"""What only the real Mailer meets: statuses, silence, time-outs, headers and pages."""

from uuid import uuid4

import pytest

from local_stack.ports import free_port
from shared.core.errors import RateLimited
from shared.ports import MailPaused, MailRefused, OutcomeUnknown, Unreachable
from tests.brevo_sandbox import brevo_sandbox
from tests.contracts.mailers import mails


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
