"""A worker that sleeps, loses its run or its lease, or is not alone, sends nothing twice and writes nothing over."""

import asyncio

import pytest

from shared import jobs
from shared.core.errors import Fenced, LeaseExpired
from shared.core.outcomes import Done
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.dying import ADDRESSES, owing_three
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import World


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
