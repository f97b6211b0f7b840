"""Interleavings found by looking for them: each one once cost an e-mail, sent one twice, or said something untrue."""

import asyncio
from datetime import timedelta

import pytest

from shared import jobs
from shared.core.errors import PauseQueue
from shared.db import mail_events
from shared.ports import MailEvent
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import DAY, World
from tests.wait import wait_until_async


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
