"""What is parked, and what a person may decide about it."""

import pytest

from shared import jobs
from shared.core.errors import BadInput
from shared.reminder_review import Action, list_reminders, resolve
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import World


async def parked(world: World, mailer: HeldMailer, *addresses: str) -> None:
    """Reminders of which nobody knows whether they were sent."""
    for address in addresses:
        await world.owing(address)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_before = True
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.bury(run_id)
    await world.age_batches(150)
    await world.confirm()


async def decide(world: World, address: str, action: Action) -> str:
    async with world.database.begin() as db:
        found = {view.email: view for view in await list_reminders(db)}
        return await resolve(db, found[address].id, action, actor="cli:eve", note="looked it up")


async def test_what_is_parked_is_listed_with_what_finds_it_in_the_providers_logs(
    world: World, mailer: HeldMailer
) -> None:
    await parked(world, mailer, "ann@example.com")

    async with world.database.begin() as db:
        (view,) = await list_reminders(db)
    (batch,) = await world.batches()
    assert (view.status, view.email, view.tag, view.calls) == (
        "needs_review",
        "ann@example.com",
        batch.tag,
        1,
    )


@pytest.mark.parametrize(
    ("action", "status", "mails"),
    [
        (Action.MARK_SENT, "sent", []),
        (Action.GIVE_UP, "failed", []),
        (Action.RESEND, "sent", ["ann@example.com"]),
    ],
)
async def test_a_decision_is_carried_out_and_audited(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox, action: Action, status: str, mails: list[str]
) -> None:
    await parked(world, mailer, "ann@example.com", "bob@example.com")

    await decide(world, "ann@example.com", action)
    await world.confirm()
    await world.remind()
    assert await world.statuses() == {"ann@example.com": status, "bob@example.com": "needs_review"}
    assert brevo.addresses() == mails
    (entry,) = await world.database.rows("SELECT actor, action, subject_kind, detail FROM audit_log")
    assert (entry.actor, entry.action, entry.subject_kind) == ("cli:eve", action.value, "reminder")
    assert (entry.detail["before"], entry.detail["note"]) == ("needs_review", "looked it up")


async def test_sending_again_is_a_new_batch_under_a_new_key_and_wakes_a_run(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await parked(world, mailer, "ann@example.com")
    (before,) = await world.batches()

    assert await decide(world, "ann@example.com", Action.RESEND) == "pending"
    (run,) = await world.database.rows(
        "SELECT id FROM job_runs WHERE job = 'confirm_reminders' AND state = 'pending'"
    )
    await world.attempt(run.id)
    (mail,) = brevo.books()["mails"]
    assert mail["key"] != str(before.idempotency_key)
    assert mail["tags"] != [before.tag]
    assert [batch.status for batch in await world.batches()] == ["sent", "sent"]


async def test_a_refused_address_that_was_corrected_can_be_sent_to_again(
    world: World, brevo: BrevoSandbox
) -> None:
    await world.owing("reject@example.com")
    await world.remind()
    await world.database.rows("UPDATE customers SET email = 'right@example.com' RETURNING 1")

    await decide(world, "reject@example.com", Action.RESEND)
    await world.confirm()
    assert brevo.addresses() == ["right@example.com"]
    assert await world.statuses() == {"right@example.com": "sent"}


@pytest.mark.parametrize("change", ["paid", "suppressed"])
async def test_nobody_is_sent_again_who_has_paid_or_wants_no_mail(
    world: World, mailer: HeldMailer, change: str
) -> None:
    await parked(world, mailer, "ann@example.com")
    await world.database.rows(
        "UPDATE invoices SET status = 'paid' RETURNING 1"
        if change == "paid"
        else "INSERT INTO suppressions (email, reason, source) VALUES ('ann@example.com', 'spam', 't') RETURNING 1"
    )

    with pytest.raises(BadInput):
        await decide(world, "ann@example.com", Action.RESEND)
    assert await world.statuses() == {"ann@example.com": "needs_review"}


@pytest.mark.parametrize("action", list(Action))
async def test_what_is_sent_or_unknown_is_not_for_deciding(
    world: World, brevo: BrevoSandbox, action: Action
) -> None:
    await world.owing("ann@example.com")
    await world.remind()
    (row,) = await world.reminders()

    async with world.database.begin() as db:
        with pytest.raises(BadInput, match="is sent"):
            await resolve(db, row.id, action, actor="cli:eve")
        with pytest.raises(BadInput, match="no reminder"):
            await resolve(db, row.batch_id, action, actor="cli:eve")
    assert brevo.addresses() == ["ann@example.com"]
