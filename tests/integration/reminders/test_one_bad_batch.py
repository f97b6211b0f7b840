"""A batch with an error of its own stops nobody else, and few are at stake while nothing is clear."""

from contextlib import suppress
from datetime import timedelta

import pytest

from shared import jobs
from shared.core.errors import PauseQueue
from shared.core.outcomes import Done, Retry, Snooze
from shared.ports import OutcomeUnknown
from shared.providers import brevo_mailer
from tests.brevo_sandbox import BrevoSandbox
from tests.fakes.mailer import FakeMailer
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import DAY, World


async def test_a_batch_whose_events_cannot_be_read_stops_nobody_else(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.owing("ann@example.com")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_after = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.bury(run_id)

    def unreadable(_: object) -> object:
        raise ValueError("Invalid isoformat string: 'soon'")

    monkeypatch.setattr(brevo_mailer, "_event", unreadable)
    await world.owing("bob@example.com")

    second = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    assert isinstance(await world.attempt(second), Snooze)
    assert await world.statuses() == {"ann@example.com": "sending", "bob@example.com": "sent"}
    await world.age_batches(60 * 12)
    assert isinstance(await world.attempt(second), Done)
    assert (await world.statuses())["ann@example.com"] == "unconfirmed"
    await world.age_batches(60 * 12)
    await world.confirm()
    assert (await world.statuses())["ann@example.com"] == "needs_review"


async def test_an_error_that_only_one_batch_has_stops_nobody_else_and_is_told(
    fake_world: World, fake: FakeMailer
) -> None:
    await fake_world.owing("ann@example.com")
    run_id = await fake_world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    fake.fail_next("send_batch", KeyError("messageIds"), after=True)
    outcome = await fake_world.attempt(run_id)
    assert isinstance(outcome, Retry)
    assert "KeyError" in outcome.error
    fake.fail_next("events", KeyError("date"))
    await fake_world.owing("bob@example.com")

    assert isinstance(await fake_world.attempt(run_id), Retry)
    assert await fake_world.statuses() == {"ann@example.com": "sending", "bob@example.com": "sent"}
    assert isinstance(await fake_world.attempt(run_id), Done)
    assert await fake_world.statuses() == {"ann@example.com": "sent", "bob@example.com": "sent"}
    assert len(fake.mails) == 2


async def test_while_the_provider_answers_nothing_clear_few_batches_are_at_stake(
    fake_world: World, fake: FakeMailer
) -> None:
    ann = await fake_world.customer("ann@example.com")
    now = await fake_world.services.clock.now()
    for _ in range(40):  # one address: a batch each
        await fake_world.invoice(ann, -timedelta(minutes=5), created_at=now - DAY)
    for _ in range(400):
        fake.fail_next("send_batch", OutcomeUnknown("500"))
    run_id = await fake_world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)

    for _ in range(6):
        with suppress(PauseQueue):
            await fake_world.attempt(run_id)
        await fake_world.age_batches(2)
    assert len(await fake_world.batches()) <= 8
