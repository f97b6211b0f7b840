"""A worker dies, sleeps or loses its run at every point of a batch's life: no e-mail twice, none missing."""

import asyncio
from collections.abc import Iterator

import pytest

from shared import jobs
from shared.core.errors import Fenced, LeaseExpired
from shared.core.outcomes import Done
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.integration.reminders.world import HeldMailer, World, killed_at, open_world

ADDRESSES = ["ann@example.com", "bob@example.com", "cem@example.com"]


async def owing_three(world: World) -> None:
    for address in ADDRESSES:
        await world.owing(address)


async def die_before_the_call_is_noted(world: World) -> None:
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    world.limiter.held = True
    await killed_at(world.limiter.reached, world.attempt(run_id))
    world.limiter.held = False
    await world.bury(run_id)


async def die_at(world: World, mailer: HeldMailer, point: str, *, buried: bool = True) -> None:
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    setattr(mailer, point, True)
    await killed_at(mailer.reached, world.attempt(run_id))
    await world.age_batches(1)  # by then the call is no longer under way
    if buried:
        await world.bury(run_id)
    else:
        await world.lose(run_id)
        assert isinstance(await world.attempt(run_id), Done)


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


@pytest.mark.rule(31)
async def test_a_call_that_may_have_been_made_is_looked_for_before_it_is_repeated(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    await die_at(world, mailer, "hold_after")

    await world.remind()
    assert brevo.sends() == {"201": 1}
    assert set((await world.statuses()).values()) == {"sent"}


@pytest.fixture
def heedless() -> Iterator[BrevoSandbox]:
    """A provider that overlooks our spelling of the idempotency key."""
    with brevo_sandbox(honoured=("IdempotencyKey",)) as sandbox:
        yield sandbox


async def test_safety_does_not_rest_on_the_key_alone(database_url: str, heedless: BrevoSandbox) -> None:
    mailer = HeldMailer(heedless.mailer())
    async with open_world(database_url, mailer) as world:
        await owing_three(world)
        await die_at(world, mailer, "hold_after", buried=False)

        assert heedless.addresses() == ADDRESSES
        assert set((await world.statuses()).values()) == {"sent"}


@pytest.mark.rule(33)
async def test_a_known_key_means_unconfirmed_until_events_tell_of_each_address(database_url: str) -> None:
    with brevo_sandbox(events_delay_s=3600) as brevo:
        mailer = HeldMailer(brevo.mailer())
        async with open_world(database_url, mailer) as world:
            await owing_three(world)
            await die_at(world, mailer, "hold_after")

            await world.remind()
            assert brevo.sends() == {"201": 1, "400": 1}
            assert set((await world.statuses()).values()) == {"unconfirmed"}
            await world.confirm()
            assert set((await world.statuses()).values()) == {"unconfirmed"}

            brevo.advance(3600)
            await world.confirm()
            assert set((await world.statuses()).values()) == {"sent"}
            assert brevo.addresses() == ADDRESSES
            assert [batch.status for batch in await world.batches()] == ["sent"]


@pytest.mark.rule(33)
async def test_an_unclear_call_is_repeated_with_the_same_key_only_while_the_provider_keeps_it(
    database_url: str,
) -> None:
    with brevo_sandbox(events_delay_s=3 * 3600) as brevo:
        mailer = HeldMailer(brevo.mailer())
        async with open_world(database_url, mailer) as world:
            await owing_three(world)
            await die_at(world, mailer, "hold_after")
            brevo.advance(31 * 60)
            await world.age_batches(31)

            await world.remind()
            await world.confirm()
            assert brevo.sends() == {"201": 1}, "the key is forgotten: a repeat would be a second mail"
            assert set((await world.statuses()).values()) == {"unconfirmed"}


@pytest.mark.rule(33)
async def test_what_the_provider_shows_nothing_of_is_parked_for_a_person(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    await die_at(world, mailer, "hold_before")
    await world.age_batches(30)

    await world.remind()
    assert set((await world.statuses()).values()) == {"unconfirmed"}
    await world.age_batches(100)
    await world.confirm()
    assert {(row.status, row.reason is not None) for row in await world.reminders()} == {
        ("needs_review", True)
    }
    await world.remind()
    await world.confirm()
    assert brevo.sends() == {}


@pytest.mark.rule(7)
async def test_a_worker_that_wakes_after_its_run_was_taken_over_changes_nothing(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_after = True
    sleeper = asyncio.create_task(world.attempt(run_id))
    await asyncio.wait_for(mailer.reached.wait(), 10)
    await world.lose(run_id)
    assert await world.attempt(run_id) == Done({"sent": 3})
    before = await world.reminders(), await world.batches()

    mailer.go_on.set()
    with pytest.raises(Fenced):
        await sleeper
    assert (await world.reminders(), await world.batches()) == before
    assert brevo.addresses() == ADDRESSES


@pytest.mark.rule(7)
async def test_a_worker_that_wakes_before_its_successor_looked_may_write_nothing_either(
    world: World, mailer: HeldMailer
) -> None:
    await owing_three(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_after = True
    sleeper = asyncio.create_task(world.attempt(run_id))
    await asyncio.wait_for(mailer.reached.wait(), 10)
    await world.lose(run_id)
    await world.claim(run_id)

    mailer.go_on.set()
    with pytest.raises(Fenced):
        await sleeper
    assert set((await world.statuses()).values()) == {"sending"}


@pytest.mark.rule(7)
async def test_without_a_trusted_lease_no_call_is_made(world: World, brevo: BrevoSandbox) -> None:
    await owing_three(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    world.limiter.held = True
    context = await world.claim(run_id)
    context.lease.lose()

    with pytest.raises(LeaseExpired):
        await world.handle(context)
    assert brevo.sends() == {}


@pytest.mark.rule(7)
async def test_a_lease_that_ends_while_the_call_is_noted_stops_the_call(
    world: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.db import reminder_batches  # noqa: PLC0415 - patched here alone

    await owing_three(world)
    context = await world.claim(await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS))
    begin = reminder_batches.begin_call

    async def noted_slowly(*args: object, **kwargs: object) -> int | None:
        calls = await begin(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        context.lease.lose()
        return calls

    monkeypatch.setattr(reminder_batches, "begin_call", noted_slowly)
    with pytest.raises(LeaseExpired):
        await world.handle(context)
    assert brevo.sends() == {}


async def test_two_runs_at_once_send_one_mail_each(world: World, brevo: BrevoSandbox) -> None:
    for number in range(60):
        await world.owing(f"c{number}@example.com")

    await asyncio.gather(*(world.remind() for _ in range(3)))
    assert sorted(brevo.addresses()) == sorted({f"c{number}@example.com" for number in range(60)})
    assert set((await world.statuses()).values()) == {"sent"}


async def test_a_batch_of_a_run_that_lives_is_left_to_it(
    world: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    await owing_three(world)
    run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
    mailer.hold_before = True
    await killed_at(mailer.reached, world.attempt(run_id))

    await world.remind()
    await world.confirm()
    assert brevo.sends() == {}
    await world.lose(run_id)
    await world.age_batches(1)
    await world.attempt(run_id)
    assert brevo.addresses() == ADDRESSES
