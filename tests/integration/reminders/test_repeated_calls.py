"""Where a call may have been made, no second one is made beside it: neither a repeat nor a part of it."""

import asyncio
from collections.abc import Iterator

import pytest

from shared import jobs
from shared.core.errors import Fenced
from shared.core.outcomes import Done, Snooze
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.integration.reminders.held import HeldMailer, ended_or_killed, killed_at
from tests.integration.reminders.world import DAY, World, open_world
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
