"""What is owed, to whom, and what becomes a row without a mail (rule 30)."""

from collections import Counter
from datetime import timedelta

import pytest

from shared.core.outcomes import Done
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.world import DAY, World

HOUR = timedelta(hours=1)


async def rows(world: World) -> dict[str, tuple[str, str | None]]:
    """Status and reason by stage, of the only invoice."""
    return {row.stage: (row.status, row.reason) for row in await world.reminders()}


async def test_a_reminder_that_is_owed_goes_out_once_however_often_the_job_runs(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")

    assert await world.remind() == Done({"sent": 1})
    assert await world.remind() == Done({})
    assert brevo.addresses() == ["ann@example.com"]
    (row,) = await world.reminders()
    assert (row.stage, row.status) == ("0d", "sent")
    assert row.message_id == brevo.books()["mails"][0]["messageId"]


@pytest.mark.rule(30)
async def test_what_came_due_between_two_runs_is_found_however_far_apart_they_are(
    world: World, brevo: BrevoSandbox
) -> None:
    """A window of the last hour would miss it: the run before this one was five hours ago."""
    await world.owing("ann@example.com", -5 * HOUR)

    await world.remind()
    assert brevo.addresses() == ["ann@example.com"]


@pytest.mark.rule(30)
async def test_the_runs_due_time_counts_and_not_the_time_at_which_it_is_late(
    world: World, brevo: BrevoSandbox
) -> None:
    now = await world.services.clock.now()
    await world.owing("early@example.com", -2 * HOUR)
    await world.owing("late@example.com", -HOUR / 2)

    await world.remind(due_at=now - HOUR)
    assert brevo.addresses() == ["early@example.com"]
    await world.remind(due_at=now)
    assert brevo.addresses() == ["early@example.com", "late@example.com"]


@pytest.mark.rule(30)
async def test_a_late_run_still_sends_what_was_within_the_tolerance_at_its_due_time(
    world: World, brevo: BrevoSandbox
) -> None:
    now = await world.services.clock.now()
    await world.owing("ann@example.com", -2 * DAY)

    await world.remind(due_at=now - 2 * DAY + HOUR, tolerance=DAY)
    assert brevo.addresses() == ["ann@example.com"]


@pytest.mark.rule(30)
async def test_what_is_owed_for_longer_than_the_tolerance_is_a_row_and_no_mail(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com", -DAY - HOUR, made=30 * DAY)

    await world.remind(tolerance=DAY)
    assert await rows(world) == {"-3d": ("skipped", "too late"), "0d": ("skipped", "too late")}
    assert brevo.addresses() == []


@pytest.mark.rule(30)
async def test_of_several_stages_owed_only_the_latest_is_sent(world: World, brevo: BrevoSandbox) -> None:
    await world.owing("ann@example.com", -4 * DAY, made=30 * DAY)

    await world.remind(tolerance=30 * DAY)
    superseded = ("skipped", "superseded by a later stage")
    assert await rows(world) == {"-3d": superseded, "0d": superseded, "+3d": ("sent", None)}
    assert brevo.addresses() == ["ann@example.com"]


@pytest.mark.rule(30)
async def test_an_earlier_stage_is_not_sent_after_a_later_one_that_was(
    world: World, brevo: BrevoSandbox
) -> None:
    invoice = await world.owing("ann@example.com", -4 * DAY, made=30 * DAY)
    await world.remind(tolerance=30 * DAY)
    await world.database.rows(
        "DELETE FROM payment_reminders WHERE invoice_id = :id AND stage = '0d' RETURNING 1", id=invoice
    )

    await world.remind(tolerance=30 * DAY)
    assert (await rows(world))["0d"] == ("skipped", "superseded by a later stage")
    assert len(brevo.addresses()) == 1


@pytest.mark.rule(30)
async def test_a_stage_before_the_invoice_was_made_is_not_owed(world: World) -> None:
    await world.owing("ann@example.com", -HOUR, made=3 * DAY - HOUR)

    await world.remind()
    assert await rows(world) == {"0d": ("sent", None)}


@pytest.mark.parametrize("columns", [{"status": "paid"}, {"status": "void"}, {"amount_due": 0}])
async def test_who_owes_nothing_is_not_reminded(
    world: World, brevo: BrevoSandbox, columns: dict[str, object]
) -> None:
    await world.owing("ann@example.com", **columns)

    await world.remind()
    assert await world.reminders() == []
    assert brevo.addresses() == []


async def test_a_suppressed_address_gets_a_row_and_no_mail_however_it_is_spelt(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("Ann@Example.com")
    await world.owing("bob@example.com")
    await world.database.rows(
        "INSERT INTO suppressions (email, reason, source) VALUES ('ann@example.com', 'unsubscribed', 't') RETURNING 1"
    )

    assert await world.remind() == Done({"sent": 1, "suppressed": 1})
    assert await world.statuses() == {"Ann@Example.com": "suppressed", "bob@example.com": "sent"}
    assert brevo.addresses() == ["bob@example.com"]


@pytest.mark.rule(31)
async def test_a_second_reminder_to_an_address_goes_into_the_next_batch(
    world: World, brevo: BrevoSandbox
) -> None:
    ann = await world.customer("ann@example.com")
    twin = await world.customer("ANN@example.com")
    for customer in (ann, ann, twin):
        await world.invoice(customer, -HOUR)
    await world.owing("bob@example.com")

    await world.remind()
    mails = brevo.books()["mails"]
    assert len(mails) == 4
    assert set(Counter((mail["call"], mail["email"].lower()) for mail in mails).values()) == {1}


async def test_many_reminders_go_out_page_by_page_in_batches_of_a_thousand(
    world: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_svc.handlers.reminders.PAGE", 1200)
    await world.database.rows(
        "WITH c AS (INSERT INTO customers (email, name) SELECT 'c' || n || '@example.com', 'C' FROM generate_series(1, 2500) n"
        " RETURNING id) INSERT INTO invoices (customer_id, amount_due, currency, due_at, created_at)"
        " SELECT id, 100, 'EUR', now() - interval '1 hour', now() - interval '30 days' FROM c RETURNING 1"
    )

    assert await world.remind() == Done({"sent": 2500, "skipped": 2500})
    mails = brevo.books()["mails"]
    assert len(mails) == len({mail["email"] for mail in mails}) == 2500
    assert max(Counter(mail["call"] for mail in mails).values()) <= 1000
