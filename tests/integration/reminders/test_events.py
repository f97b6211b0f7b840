"""The provider's events: they confirm address by address, they suppress, in any order and any number (rule 33)."""

import json

import pytest

from shared import jobs
from shared.core.outcomes import Done, Recorded
from shared.ports import OutcomeUnknown
from tests.brevo_sandbox import BrevoSandbox
from tests.fakes.mailer import Accepted, FakeMailer
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import World
from worker_svc.context import JobContext


async def suppressions(world: World) -> dict[str, str]:
    return {
        row.email: row.reason for row in await world.database.rows("SELECT email, reason FROM suppressions")
    }


async def unconfirmed(world: World, fake: FakeMailer) -> Accepted:
    """Of a batch of two whose call was cut off, the mail that no event has told of yet."""
    for name in ("ann", "bob"):
        await world.owing(f"{name}@example.com")
    fake.fail_next("send_batch", TimeoutError("gone"), after=True)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    with pytest.raises(TimeoutError):
        await world.attempt(run_id)
    ann, bob = sorted(fake.mails, key=lambda mail: mail.version.email)
    fake.shown = []
    fake.tell("requests", bob)
    await world.attempt(run_id)
    assert await world.statuses() == {"ann@example.com": "unconfirmed", "bob@example.com": "sent"}
    return ann


async def due_together(world: World) -> list[JobContext]:
    """Two runs that look for events, both claimed before either has looked."""
    return [await world.claim(await world.enqueue(jobs.CONFIRM_REMINDERS)) for _ in range(2)]


def told(mail: dict[str, object], event: str, **more: object) -> dict[str, object]:
    """As Brevo's webhook has it."""
    return {
        "event": event,
        "email": mail["email"],
        "message-id": mail["messageId"],
        "ts_event": 1_764_000_000,
        "tag": json.dumps(mail["tags"]),
        "tags": mail["tags"],
        **more,
    }


async def sent_to(world: World, brevo: BrevoSandbox, address: str) -> dict[str, object]:
    await world.owing(address)
    await world.remind()
    mail: dict[str, object] = brevo.books()["mails"][-1]
    return mail


@pytest.mark.rule(33)
async def test_an_unconfirmed_batch_is_resolved_address_by_address(
    fake_world: World, fake: FakeMailer
) -> None:
    for name in ("ann", "bob", "cem", "dee"):
        await fake_world.owing(f"{name}@example.com")
    fake.fail_next("send_batch", TimeoutError("gone"), after=True)
    run_id = await fake_world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    with pytest.raises(TimeoutError):
        await fake_world.attempt(run_id)
    mails = {mail.version.email: mail for mail in fake.mails}
    fake.shown = []
    fake.tell("requests", mails["ann@example.com"])
    fake.tell("hardBounces", mails["bob@example.com"], "550 nobody")
    fake.tell("blocked", mails["cem@example.com"])

    await fake_world.attempt(run_id)
    assert await fake_world.statuses() == {
        "ann@example.com": "sent",
        "bob@example.com": "failed",
        "cem@example.com": "suppressed",
        "dee@example.com": "unconfirmed",
    }
    assert await suppressions(fake_world) == {"bob@example.com": "hard_bounce", "cem@example.com": "blocked"}
    await fake_world.age_batches(121)
    await fake_world.confirm()
    assert (await fake_world.statuses())["dee@example.com"] == "needs_review"
    assert len(fake.mails) == 4


@pytest.mark.rule(33)
async def test_of_runs_that_are_due_together_one_reads_the_events_and_a_later_one_reads_them_again(
    fake_world: World, fake: FakeMailer
) -> None:
    """The provider allows few readings: many runs that each read everything would keep one another waiting."""
    ann = await unconfirmed(fake_world, fake)
    first, second = await due_together(fake_world)
    assert await fake_world.handle(first) == Done({"confirmed": 1, "unresolved": 1})
    fake.tell("requests", ann)
    assert await fake_world.handle(second) == Done({})
    assert await fake_world.confirm() == Done({"confirmed": 2})
    assert set((await fake_world.statuses()).values()) == {"sent"}


@pytest.mark.rule(33)
@pytest.mark.parametrize("why", ["they could not be read", "the clock went back"])
async def test_events_are_read_again_where_the_last_reading_tells_nothing(
    why: str, fake_world: World, fake: FakeMailer
) -> None:
    ann = await unconfirmed(fake_world, fake)
    first, second = await due_together(fake_world)
    if why == "they could not be read":
        fake.fail_next("events", OutcomeUnknown("no answer"))
    assert await fake_world.handle(first) == Done({"confirmed": 1, "unresolved": 1})
    if why == "the clock went back":
        await fake_world.database.rows(
            "UPDATE reminder_batches SET followed_up_at = now() + interval '3 hours' RETURNING 1"
        )
    fake.tell("requests", ann)
    assert await fake_world.handle(second) == Done({"confirmed": 2})


async def test_a_late_event_resolves_what_was_parked(fake_world: World, fake: FakeMailer) -> None:
    await fake_world.owing("ann@example.com")
    fake.fail_next("send_batch", TimeoutError("gone"), after=True)
    run_id = await fake_world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    with pytest.raises(TimeoutError):
        await fake_world.attempt(run_id)
    fake.shown = []
    await fake_world.age_batches(130)
    await fake_world.attempt(run_id)
    await fake_world.confirm()
    assert await fake_world.statuses() == {"ann@example.com": "needs_review"}

    (mail,) = fake.mails
    body = {
        "event": "delivered",
        "email": "ann@example.com",
        "message-id": mail.message_id,
        "tags": [mail.tag],
    }
    await fake_world.webhook("e1", body)
    assert await fake_world.statuses() == {"ann@example.com": "sent"}
    assert [batch.status for batch in await fake_world.batches()] == ["sent"]


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        ("delivered", "sent", None),
        ("soft_bounce", "sent", None),
        ("hard_bounce", "failed", "hard_bounce"),
        ("invalid_email", "failed", "invalid_email"),
        ("blocked", "suppressed", "blocked"),
        ("spam", "sent", "spam"),
        ("unsubscribed", "sent", "unsubscribed"),
        ("something_new", "sent", None),
    ],
)
async def test_a_webhook_says_what_became_of_a_mail_and_of_its_address(
    world: World, brevo: BrevoSandbox, event: str, status: str, reason: str | None
) -> None:
    mail = await sent_to(world, brevo, "Ann@example.com")

    assert await world.webhook("e1", told(mail, event)) == Recorded()
    assert await world.statuses() == {"Ann@example.com": status}
    assert await suppressions(world) == ({"ann@example.com": reason} if reason else {})
    (stored,) = await world.database.rows("SELECT applied_at, outcome FROM webhook_events")
    assert stored.applied_at is not None
    assert stored.outcome


async def test_events_may_come_twice_and_in_any_order(world: World, brevo: BrevoSandbox) -> None:
    mail = await sent_to(world, brevo, "ann@example.com")

    for number, event in enumerate(("hard_bounce", "delivered", "request", "hard_bounce", "delivered")):
        await world.webhook(f"e{number}", told(mail, event))
        await world.webhook(f"e{number}", told(mail, event)) if number == 0 else None
    assert await world.statuses() == {"ann@example.com": "failed"}
    assert await suppressions(world) == {"ann@example.com": "hard_bounce"}


async def test_an_event_that_comes_before_the_answer_is_recorded_stays(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_after = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.webhook("e1", told(brevo.books()["mails"][0], "hard_bounce"))
    assert await world.statuses() == {"ann@example.com": "failed"}

    await world.lose(run_id)
    await world.attempt(run_id)
    assert await world.statuses() == {"ann@example.com": "failed"}
    assert brevo.sends() == {"201": 1}


async def test_an_event_of_a_mail_that_is_not_ours_still_suppresses(world: World) -> None:
    stranger: dict[str, object] = {"email": "Eve@example.com", "messageId": "<x@y>", "tags": ["newsletter"]}

    await world.webhook("e1", told(stranger, "unsubscribed"))
    assert await suppressions(world) == {"eve@example.com": "unsubscribed"}


@pytest.mark.parametrize(
    "body", [{}, {"event": "delivered"}, {"event": "spam", "email": []}, {"event": "spam", "email": ""}]
)
async def test_a_webhook_that_says_nothing_is_applied_without_effect(
    world: World, body: dict[str, object]
) -> None:
    assert await world.webhook("e1", body) == Recorded()
    assert await suppressions(world) == {}


async def test_a_bounce_whose_webhook_was_lost_is_found_by_polling_once(
    world: World, brevo: BrevoSandbox
) -> None:
    await sent_to(world, brevo, "bounce@example.com")
    await world.confirm()
    assert await suppressions(world) == {}, "too early to look"

    await world.age_batches(61)
    await world.confirm()
    assert await suppressions(world) == {"bounce@example.com": "hard_bounce"}
    assert await world.statuses() == {"bounce@example.com": "failed"}
    reads = brevo.books()["requests"]["GET /v3/smtp/statistics/events"]
    await world.confirm()
    assert brevo.books()["requests"]["GET /v3/smtp/statistics/events"] == reads
