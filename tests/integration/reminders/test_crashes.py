"""A worker dies before its batch's call, or at it: exactly what was frozen is sent, once."""

import pytest

from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.dying import ADDRESSES, die_at, die_before_the_call_is_noted, owing_three
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import World


@pytest.mark.rule(31)
@pytest.mark.parametrize("job", ["remind", "confirm"])
async def test_a_batch_that_was_frozen_and_never_called_is_sent_by_whoever_comes_next(
    world: World, brevo: BrevoSandbox, job: str
) -> None:
    await owing_three(world)
    await die_before_the_call_is_noted(world)
    assert brevo.addresses() == []
    assert set((await world.statuses()).values()) == {"pending"}

    await (world.remind() if job == "remind" else world.confirm())
    assert brevo.addresses() == ADDRESSES
    assert set((await world.statuses()).values()) == {"sent"}


@pytest.mark.rule(31)
async def test_after_a_crash_exactly_what_was_frozen_is_sent(world: World, brevo: BrevoSandbox) -> None:
    await owing_three(world)
    await die_before_the_call_is_noted(world)
    (batch,) = await world.batches()
    await world.database.rows("UPDATE customers SET name = 'Somebody Else' RETURNING 1")
    await world.database.rows("UPDATE invoices SET amount_due = 1 RETURNING 1")
    await world.owing("late@example.com")

    await world.remind()
    mails = {mail["email"]: mail for mail in brevo.books()["mails"]}
    for member in batch.content["members"]:
        content = brevo.control("GET", f"mails/{mails[member['email']]['messageId']}")["content"]
        assert content == {"html": member["html"], "text": member["text"]}
        assert mails[member["email"]]["key"] == str(batch.idempotency_key)
        assert mails[member["email"]]["tags"] == [batch.tag]
    assert mails["late@example.com"]["tags"] != [batch.tag]


@pytest.mark.parametrize("change", ["paid", "suppressed"])
async def test_who_settles_before_the_first_call_of_a_waiting_batch_is_left_out(
    world: World, brevo: BrevoSandbox, change: str
) -> None:
    await owing_three(world)
    await die_before_the_call_is_noted(world)
    if change == "paid":
        await world.database.rows(
            "UPDATE invoices SET status = 'paid' WHERE customer_id = (SELECT id FROM customers WHERE email = 'bob@example.com')"
            " RETURNING 1"
        )
    else:
        await world.database.rows(
            "INSERT INTO suppressions (email, reason, source) VALUES ('bob@example.com', 'spam', 't') RETURNING 1"
        )

    await world.remind()
    assert brevo.addresses() == ["ann@example.com", "cem@example.com"]
    assert (await world.statuses())["bob@example.com"] == ("skipped" if change == "paid" else "suppressed")


async def test_a_waiting_batch_of_which_nobody_is_left_ends_without_a_call(
    world: World, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    await die_before_the_call_is_noted(world)
    await world.database.rows("UPDATE invoices SET status = 'void' RETURNING 1")

    await world.remind()
    assert brevo.sends() == {}
    assert [batch.status for batch in await world.batches()] == ["void"]


@pytest.mark.rule(31)
@pytest.mark.parametrize("buried", [False, True], ids=["same run", "next run"])
@pytest.mark.parametrize("point", ["hold_before", "hold_after"])
async def test_a_worker_that_dies_at_the_call_leaves_one_mail_each(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox, point: str, buried: bool
) -> None:
    await owing_three(world)
    await die_at(world, mailer, point, buried=buried)

    await world.remind()
    await world.confirm()
    assert brevo.addresses() == ADDRESSES
    assert set((await world.statuses()).values()) == {"sent"}
    assert len({row.message_id for row in await world.reminders()} - {None}) == 3
    (batch,) = await world.batches()
    assert {mail["key"] for mail in brevo.books()["mails"]} == {str(batch.idempotency_key)}
