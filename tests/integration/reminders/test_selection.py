"""What is owed, to whom, and what becomes a row without a mail (rule 30)."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared import jobs
from shared.core.outcomes import Done, Retry
from shared.core.stages import parse_stages
from shared.db import reminders
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
    world: World, brevo: BrevoSandbox, columns: dict[str, Any]
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


async def test_many_reminders_go_out_in_batches_that_the_provider_takes(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.database.rows(
        "WITH c AS (INSERT INTO customers (email, name) SELECT 'c' || n || '@example.com', 'C' FROM generate_series(1, 2500) n"
        " RETURNING id) INSERT INTO invoices (customer_id, amount_due, currency, due_at, created_at)"
        " SELECT id, 100, 'EUR', now() - interval '1 hour', now() - interval '30 days' FROM c RETURNING 1"
    )

    assert await world.remind() == Done({"sent": 2500, "skipped": 2500})
    mails = brevo.books()["mails"]
    assert len(mails) == len({mail["email"] for mail in mails}) == 2500
    assert max(Counter(mail["call"] for mail in mails).values()) <= 1000


@pytest.mark.rule(30)
async def test_selection_alone_never_offers_a_superseded_stage_or_one_before_the_invoice(
    world: World,
) -> None:
    """Also for an invoice that appeared after the rows of skipped stages were written."""
    await world.owing("ann@example.com", -4 * DAY, made=30 * DAY)
    await world.owing("bob@example.com", 2 * DAY, made=3 * DAY - HOUR)
    stages = parse_stages(world.services.stages)
    as_of = await world.services.clock.now()

    async with world.database.begin() as db:
        found = await reminders.owed(db, stages, as_of=as_of, tolerance=30 * DAY, most=10)
    assert [(each.email, each.stage) for each in found] == [("ann@example.com", "+3d")]


@pytest.mark.rule(31)
async def test_what_changes_between_selection_and_freezing_is_checked_again(
    world: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.owing("ann@example.com")
    paid = await world.owing("bob@example.com")
    corrected = await world.owing("cem@example.com")
    select, changes = reminders.owed, [1]

    async def then_changed(*args: Any, **options: Any) -> list[reminders.Owed]:
        page = await select(*args, **options)
        if changes:
            changes.pop()
            await world.database.rows(
                "UPDATE invoices SET status = 'paid' WHERE id = :id RETURNING 1", id=paid
            )
            await world.database.rows(
                "UPDATE invoices SET amount_due = 777 WHERE id = :id RETURNING 1", id=corrected
            )
        return page

    monkeypatch.setattr(reminders, "owed", then_changed)
    await world.remind()
    assert brevo.addresses() == ["ann@example.com", "cem@example.com"]
    (mail,) = [mail for mail in brevo.books()["mails"] if mail["email"] == "cem@example.com"]
    assert "$7.77" in brevo.control("GET", f"mails/{mail['messageId']}")["content"]["text"]
    assert set(await world.statuses()) == {"ann@example.com", "cem@example.com"}


async def test_an_invoice_that_somebody_holds_is_left_for_the_next_attempt(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("ann@example.com")
    held = await world.owing("bob@example.com")
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    async with world.database.begin() as other:
        await other.execute(text("SELECT FROM invoices WHERE id = :id FOR UPDATE"), {"id": held})
        assert isinstance(await world.attempt(run_id), Retry)
        assert brevo.addresses() == ["ann@example.com"]

    await world.attempt(run_id)
    assert brevo.addresses() == ["ann@example.com", "bob@example.com"]
