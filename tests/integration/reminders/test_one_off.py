"""`send_reminder`: one e-mail about a customer's open invoices, whose business id is its run's (rule 34)."""

from uuid import uuid4

import pytest

from shared import jobs
from shared.core.outcomes import Cancel, Done, Outcome
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import DAY, World


async def send(world: World, customer_id: object) -> Outcome:
    return await world.run(jobs.SEND_REMINDER, jobs.ReminderArgs.model_validate({"user_id": customer_id}))


@pytest.mark.rule(34)
async def test_one_mail_tells_of_all_open_invoices(world: World, brevo: BrevoSandbox) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann, 30 * DAY, number="A-1", amount_due=1_000)
    await world.invoice(ann, -2 * DAY, number="A-2", amount_due=2_000, currency="JPY")
    await world.invoice(ann, number="A-3", status="paid")

    assert await send(world, ann) == Done({"sent": 1})
    (mail,) = brevo.books()["mails"]
    text = brevo.control("GET", f"mails/{mail['messageId']}")["content"]["text"]
    assert "A-1" in text
    assert "$10.00" in text
    assert "A-2" in text
    assert "¥2,000" in text
    assert "A-3" not in text
    (row,) = await world.reminders()
    (run,) = await world.database.rows("SELECT id FROM job_runs")
    assert (row.stage, row.invoice_id, row.customer_id, row.once_run_id) == ("once", None, ann, run.id)
    assert (row.status, row.message_id) == ("sent", mail["messageId"])


@pytest.mark.rule(34)
@pytest.mark.parametrize("point", ["hold_before", "hold_after"])
async def test_however_often_a_run_is_attempted_one_mail_goes_out(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox, point: str
) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann)
    run_id = await world.enqueue(jobs.SEND_REMINDER, jobs.ReminderArgs(user_id=ann))
    setattr(mailer, point, True)
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.age_batches(1)
    await world.lose(run_id)
    await world.attempt(run_id)

    assert brevo.addresses() == ["ann@example.com"]
    assert [row.status for row in await world.reminders()] == ["sent"]


@pytest.mark.rule(34)
async def test_an_attempt_after_the_mail_was_recorded_sends_nothing(
    world: World, brevo: BrevoSandbox
) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann)
    await send(world, ann)
    (run,) = await world.database.rows("UPDATE job_runs SET state = 'pending' RETURNING id")

    assert await world.attempt(run.id) == Done({})
    assert brevo.addresses() == ["ann@example.com"]


@pytest.mark.rule(34)
async def test_another_run_is_another_mail(world: World, brevo: BrevoSandbox) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann)

    await send(world, ann)
    await send(world, ann)
    assert brevo.addresses() == ["ann@example.com"] * 2


async def test_who_owes_nothing_or_does_not_exist_is_a_cancelled_run(
    world: World, brevo: BrevoSandbox
) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann, status="paid")

    assert isinstance(await send(world, ann), Cancel)
    assert isinstance(await send(world, uuid4()), Cancel)
    assert await world.reminders() == []
    assert brevo.addresses() == []


async def test_a_suppressed_address_is_a_row_and_a_cancelled_run(world: World, brevo: BrevoSandbox) -> None:
    ann = await world.customer("Ann@example.com")
    await world.invoice(ann)
    await world.database.rows(
        "INSERT INTO suppressions (email, reason, source) VALUES ('ann@example.com', 'spam', 't') RETURNING 1"
    )

    assert isinstance(await send(world, ann), Cancel)
    assert await world.statuses() == {"Ann@example.com": "suppressed"}
    assert brevo.addresses() == []


async def test_a_dead_run_with_an_open_batch_is_finished_by_the_confirming_job(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    ann = await world.customer("ann@example.com")
    await world.invoice(ann)
    run_id = await world.enqueue(jobs.SEND_REMINDER, jobs.ReminderArgs(user_id=ann))
    mailer.hold_after = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.bury(run_id)

    await world.confirm()
    assert [row.status for row in await world.reminders()] == ["sent"]
    assert brevo.addresses() == ["ann@example.com"]
