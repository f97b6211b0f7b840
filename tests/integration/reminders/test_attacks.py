"""Interleavings found by looking for them: each one once cost an e-mail, sent one twice, or stopped all the others."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from shared import jobs
from shared.core.errors import Fenced, PauseQueue
from shared.core.outcomes import Done, Retry, Snooze
from shared.db import mail_events
from shared.ports import MailEvent, OutcomeUnknown
from shared.providers import brevo_mailer
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.fakes.mailer import FakeMailer
from tests.integration.reminders.world import DAY, HeldMailer, World, ended_or_killed, killed_at, open_world
from tests.wait import wait_until_async
from worker_svc import reminder_outbox


@pytest.fixture
def heedless() -> Iterator[BrevoSandbox]:
    """A provider that overlooks our spelling of the idempotency key, and shows events late."""
    with brevo_sandbox(honoured=("IdempotencyKey",), events_delay_s=20) as sandbox:
        yield sandbox


@pytest.mark.rule(33)
async def test_no_second_call_starts_while_the_first_may_still_be_under_way(
    database_url: str, heedless: BrevoSandbox
) -> None:
    """As after a hand-back or a lost lease: the call goes on at the provider, and its key protects nobody."""
    mailer = HeldMailer(heedless.mailer())
    async with open_world(database_url, mailer) as world:
        await world.owing("ann@example.com")
        run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
        mailer.hold_before = True
        sleeper = asyncio.create_task(world.attempt(run_id))
        await asyncio.wait_for(mailer.reached.wait(), 10)
        await world.lose(run_id)

        assert isinstance(await world.attempt(run_id), Snooze)
        mailer.go_on.set()
        with pytest.raises(Fenced):
            await sleeper
        heedless.advance(60)
        await world.age_batches(1)
        assert isinstance(await world.attempt(run_id), Done)
        assert heedless.addresses() == ["ann@example.com"]
        assert await world.statuses() == {"ann@example.com": "sent"}


@pytest.mark.rule(33)
async def test_an_event_that_arrives_after_the_look_stops_the_repeat(
    database_url: str, heedless: BrevoSandbox
) -> None:
    mailer = HeldMailer(heedless.mailer())
    async with open_world(database_url, mailer) as world:
        await world.owing("ann@example.com")
        run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
        mailer.hold_after = True
        await killed_at(mailer.reached, world.attempt(run_id))
        await world.lose(run_id)
        await world.age_batches(2)
        world.limiter.held_names = {"brevo"}
        second = asyncio.create_task(world.attempt(run_id))
        await asyncio.wait_for(world.limiter.reached.wait(), 10)
        (mail,) = heedless.books()["mails"]
        body = {"event": "request", "email": mail["email"], "message-id": "", "tags": mail["tags"]}
        await world.webhook("e1", body)
        world.limiter.release.set()

        with pytest.raises(Fenced):
            await second
        await world.attempt(run_id)
        assert heedless.addresses() == ["ann@example.com"]
        assert await world.statuses() == {"ann@example.com": "sent"}


@pytest.mark.parametrize("address", ["ann@example.com ", "\tAnn@example.com\n"])
async def test_blanks_around_an_address_hide_no_suppression_and_no_event(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox, address: str
) -> None:
    await world.owing(address)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_after = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.lose(run_id)
    await world.attempt(run_id)
    assert [row.status for row in await world.reminders()] == ["sent"]

    (mail,) = brevo.books()["mails"]
    await world.webhook("e1", {"event": "unsubscribed", "email": mail["email"], "tags": mail["tags"]})
    await world.owing(address)
    customer = await world.customer(address)
    await world.invoice(customer)
    await world.remind()
    await world.run(jobs.SEND_REMINDER, jobs.ReminderArgs(user_id=customer))
    assert len(brevo.addresses()) == 1


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


@pytest.mark.rule(34)
async def test_a_one_off_that_is_cancelled_before_its_first_call_is_never_sent(
    world: World, brevo: BrevoSandbox
) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann)
    brevo.fault("status", status=402)
    run_id = await world.enqueue(jobs.SEND_REMINDER, jobs.ReminderArgs(user_id=ann))
    with pytest.raises(PauseQueue):
        await world.attempt(run_id)
    await world.database.rows("UPDATE job_runs SET state = 'cancelled' WHERE id = :id RETURNING 1", id=run_id)

    await world.confirm()
    assert brevo.addresses() == []
    assert await world.statuses() == {"ann@example.com": "skipped"}


@pytest.mark.rule(7)
async def test_an_attempt_that_lost_its_run_writes_no_suppressed_row_either(world: World) -> None:
    await world.owing("ann@example.com")
    await world.database.rows(
        "INSERT INTO suppressions (email, reason, source) VALUES ('ann@example.com', 'spam', 't') RETURNING 1"
    )
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    context = await world.claim(run_id)
    await world.lose(run_id)

    await world.handle(context)
    assert await world.reminders() == []


async def test_two_events_at_once_leave_no_batch_in_review_without_a_reminder_in_review(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    for name in ("ann", "bob"):
        await world.owing(f"{name}@example.com")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_before = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.bury(run_id)
    await world.age_batches(150)
    await world.confirm()
    (batch,) = await world.batches()
    assert batch.status == "needs_review"
    now = await world.services.clock.now()

    applied, commit = [asyncio.Event(), asyncio.Event()], asyncio.Event()

    async def told(name: str, done: asyncio.Event) -> None:
        async with world.database.begin() as db:
            event = MailEvent("delivered", f"{name}@example.com", "<m>", now)
            await mail_events.apply_events(db, [event], tags=[batch.tag], source="t")
            done.set()
            await commit.wait()

    first = asyncio.create_task(told("ann", applied[0]))
    await asyncio.wait_for(applied[0].wait(), 10)
    second = asyncio.create_task(told("bob", applied[1]))

    async def second_applied_or_waits() -> bool:
        waiting = await world.database.rows(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return applied[1].is_set() or bool(waiting)

    waited: bool = await wait_until_async(second_applied_or_waits)
    assert waited
    commit.set()
    await asyncio.gather(first, second)
    assert [row.status for row in await world.batches()] == ["sent"]


async def owing_with_a_culprit(world: World) -> list[str]:
    """Eight customers who owe, one of whose addresses the provider refuses. Returns the other seven."""
    names = [f"c{number}@example.com" for number in range(7)]
    for address in (*names, "reject@example.com"):
        await world.owing(address)
    return names


@pytest.mark.rule(32)
async def test_a_split_that_is_interrupted_between_any_two_calls_goes_on_where_it_was(
    world: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt makes one call and dies before the next one: no call is cut, so nothing is unclear."""
    monkeypatch.setattr(reminder_outbox, "BATCHES_AT_ONCE", 1)
    names = await owing_with_a_culprit(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    attempts = 0
    while attempts < 20:
        attempts += 1
        world.limiter.reached.clear()
        world.limiter.hold_after_turns = 1
        if not await ended_or_killed(world.limiter.reached, world.attempt(run_id)):
            break
        await world.lose(run_id)
    # 8, 4 + 4, 2 + 2, 1 + 1 addresses: seven calls, each in an attempt of its own, the last of which ends.
    assert attempts == 7
    statuses = await world.statuses()
    assert brevo.addresses() == names
    assert statuses.pop("reject@example.com") == "failed"
    assert statuses == dict.fromkeys(names, "sent")


@pytest.mark.rule(32, 33)
async def test_a_refusal_after_a_cut_call_splits_nothing_and_leaves_its_addresses_to_a_person(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    """Whether a provider checks the key before the content is its own affair: the refusal says nothing about the call that
    was cut. A split under new keys might mail seven people twice."""
    names = await owing_with_a_culprit(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_before = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.lose(run_id)
    await world.age_batches(2)
    await world.attempt(run_id)
    assert await world.statuses() == dict.fromkeys([*names, "reject@example.com"], "unconfirmed")
    await world.age_batches(DAY.total_seconds() / 60)
    await world.confirm()
    assert set((await world.statuses()).values()) == {"needs_review"}
    assert brevo.addresses() == []


async def test_a_batch_frozen_long_ago_and_never_called_says_nothing_untrue(
    world: World, brevo: BrevoSandbox
) -> None:
    """Due in three days, it says; but that was three weeks ago, and later stages are owed by now."""
    ann = await world.customer("ann@example.com")
    invoice = await world.invoice(ann, 3 * DAY - timedelta(minutes=5))
    brevo.fault("status", status=401)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    with pytest.raises(PauseQueue):
        await world.attempt(run_id)
    await world.bury(run_id)
    await world.database.rows(
        "UPDATE invoices SET due_at = due_at - make_interval(days => 10) WHERE id = :id RETURNING 1",
        id=invoice,
    )
    await world.database.rows(
        "UPDATE reminder_batches SET created_at = created_at - make_interval(days => 10) RETURNING 1"
    )
    await world.remind()
    mails = brevo.books()["mails"]
    assert len(mails) == 1
