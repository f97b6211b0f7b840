"""Long work goes on in another run, for another worker. Whatever happens to a part, nothing is sent twice or forgotten."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Row

from shared import jobs
from shared.core.errors import Fenced
from shared.core.outcomes import Cancel, Done, Outcome, Snooze
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import DAY, World, open_world
from worker_svc.reminder_parts import Part

JOB = jobs.SEND_PAYMENT_REMINDER_EMAILS
MAILS = 4
BATCHES = 2  # of a part: an address is in a batch once


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_svc.reminder_parts.MAILS", MAILS)


@pytest.fixture
async def other(database_url: str, brevo: BrevoSandbox) -> AsyncIterator[World]:
    """Another worker on the same database."""
    async with open_world(database_url, HeldMailer(brevo.mailer())) as opened:
        yield opened


async def owing(world: World, parts: float) -> list[UUID]:
    """So many parts' worth of invoices, each part's in two batches; the earliest first."""
    customers = [await world.customer(f"{number}@example.com") for number in range(MAILS // BATCHES)]
    made = await world.services.clock.now() - timedelta(hours=1)
    due_in = -timedelta(minutes=30)
    return [
        await world.invoice(customers[n % len(customers)], due_in + n * timedelta(seconds=1), created_at=made)
        for n in range(int(parts * MAILS))
    ]


async def runs(world: World) -> list[Row[tuple[object, ...]]]:
    """The oldest first: part by part."""
    return await world.database.rows("SELECT * FROM job_runs WHERE job = :job ORDER BY id", job=JOB.name)


async def all_the_rest(world: World) -> None:
    """Every part that waits, and those that it calls for."""
    while waiting := [run for run in await runs(world) if run.state == "pending"]:
        await world.age_batches(1)
        await world.attempt(waiting[0].id)


async def all_once(world: World, brevo: BrevoSandbox, invoices: list[UUID]) -> None:
    rows = await world.reminders()
    assert Counter(row.invoice_id for row in rows) == dict.fromkeys(invoices, 1)
    assert {row.status for row in rows} == {"sent"}
    assert len(brevo.addresses()) == len(invoices)


async def held_in_the_second_batch(world: World, mailer: HeldMailer, run_id: UUID) -> "asyncio.Task[Outcome]":
    """An attempt that has called for the next part, and is about to send the rest of its own."""
    mailer.hold_after_calls = BATCHES - 1
    mailer.reached.clear()
    world.pushes.any.clear()
    task = asyncio.create_task(world.attempt(run_id))
    async with asyncio.timeout(10):
        await asyncio.gather(mailer.reached.wait(), world.pushes.any.wait())
    return task


async def die_in_the_second_batch(world: World, mailer: HeldMailer, run_id: UUID) -> None:
    task = await held_in_the_second_batch(world, mailer, run_id)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_work_for_one_part_is_one_run(world: World, brevo: BrevoSandbox) -> None:
    invoices = await owing(world, 0.75)

    assert await world.remind() == Done({"sent": len(invoices)})
    assert len(await runs(world)) == 1


async def test_more_work_goes_on_in_runs_that_say_what_they_are(world: World, brevo: BrevoSandbox) -> None:
    invoices = await owing(world, 2.5)
    now = await world.services.clock.now()

    first = await world.enqueue(JOB, jobs.RemindersArgs(tolerance=3 * DAY), due_at=now)
    assert await world.attempt(first) == Done({"sent": MAILS})
    second = (await runs(world))[1]
    assert world.pushes.pushed == [second.id], "a worker is woken"
    await all_the_rest(world)

    await all_once(world, brevo, invoices)
    parts = [JOB.decode(run.args) for run in await runs(world)]
    assert [part.part and (part.part.of, part.part.number) for part in parts] == [
        None,
        (first, 2),
        (first, 3),
    ]
    assert {part.tolerance for part in parts} == {3 * DAY}
    assert {part.part.as_of for part in parts if part.part} == {now}
    # So its schedule is busy until the last part has ended: the next fire is skipped.
    assert {run.schedule_id for run in await runs(world)} == {"s"}
    assert [run.result["sent"] for run in await runs(world)] == [MAILS, MAILS, MAILS // 2]


async def test_two_workers_send_two_parts_at_the_same_time(
    world: World, other: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    invoices = await owing(world, 2)
    first = await held_in_the_second_batch(world, mailer, await world.enqueue(JOB))
    [second] = world.pushes.pushed

    assert await other.attempt(second) == Done({"sent": MAILS})
    assert not first.done()
    mailer.go_on.set()
    assert await first == Done({"sent": MAILS})
    await all_once(world, brevo, invoices)


async def test_the_next_attempt_ends_where_the_next_part_begins(
    world: World, other: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    invoices = await owing(world, 1.5)
    run_id = await world.enqueue(JOB)
    await die_in_the_second_batch(world, mailer, run_id)
    await world.lose(run_id)
    await world.age_batches(1)

    assert await other.attempt(run_id) == Done({"sent": MAILS // BATCHES})
    assert len(await world.reminders()) == MAILS
    await all_the_rest(other)
    await all_once(world, brevo, invoices)
    assert len(await runs(world)) == 2, "the next part was called for once"


async def test_what_a_part_that_died_left_behind_is_the_next_fires(
    world: World, other: World, mailer: HeldMailer, brevo: BrevoSandbox
) -> None:
    invoices = await owing(world, 3)
    await world.attempt(await world.enqueue(JOB))
    [second] = world.pushes.pushed
    await die_in_the_second_batch(world, mailer, second)
    await world.bury(second)
    await world.age_batches(1)
    await all_the_rest(other)
    await other.remind()
    await all_the_rest(other)

    await all_once(world, brevo, invoices)


async def test_a_fire_while_parts_of_the_last_one_wait_doubles_nothing(
    world: World, other: World, brevo: BrevoSandbox
) -> None:
    invoices = await owing(world, 3)
    await world.attempt(await world.enqueue(JOB))
    await asyncio.gather(all_the_rest(world), other.remind())
    await all_the_rest(world)

    await all_once(world, brevo, invoices)


async def test_while_it_is_unclear_what_became_of_mail_no_other_part_is_called_for(
    world: World, brevo: BrevoSandbox
) -> None:
    invoices = await owing(world, 2)
    brevo.fault("drop_after", times=BATCHES)
    run_id = await world.enqueue(JOB)
    assert isinstance(await world.attempt(run_id), Snooze)
    assert world.pushes.pushed == []

    await all_the_rest(world)
    await world.confirm()
    await all_once(world, brevo, invoices)


async def test_a_run_that_is_cancelled_calls_for_no_other_part(world: World, brevo: BrevoSandbox) -> None:
    await owing(world, 2)
    context = await world.claim(await world.enqueue(JOB))
    context.lease.cancel_requested.set()

    assert isinstance(await world.handle(context), Cancel)
    assert world.pushes.pushed == []
    assert brevo.addresses() == []


async def test_an_attempt_that_lost_its_run_calls_for_no_other_part(world: World) -> None:
    """It would begin behind what the next attempt goes up to."""
    await owing(world, 2)
    context = await world.claim(await world.enqueue(JOB))
    part = await Part.of(context, jobs.RemindersArgs())
    await part.select()
    await world.lose(context.run.id)

    with pytest.raises(Fenced):
        await part.call_next()
    assert len(await runs(world)) == 1


async def test_a_part_waits_for_its_turn_and_is_another_workers_before_long(
    world: World, other: World, brevo: BrevoSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_svc.reminder_parts.TURN_TIMEOUT_S", 0.05)
    invoices = await owing(world, 0.5)
    run_id = await world.enqueue(JOB)
    async with world.services.rendering_turn:
        assert isinstance(await world.attempt(run_id), Snooze)
    assert brevo.addresses() == []

    assert await other.attempt(run_id) == Done({"sent": len(invoices)})
    await all_once(world, brevo, invoices)
    [run] = await runs(world)
    assert run.max_attempts - run.attempt == JOB.retry.max_attempts - 1, "waiting costs no attempt"


async def test_no_arguments_remind_anybody_before_the_day(world: World, brevo: BrevoSandbox) -> None:
    invoice = await world.owing("ann@example.com", DAY, made=DAY)
    now = await world.services.clock.now()
    part = jobs.ReminderPart(
        of=invoice, number=2, as_of=now + 2 * DAY, after_due_at=now - 9 * DAY, after_invoice=invoice
    )

    assert await world.run(JOB, jobs.RemindersArgs(tolerance=9 * DAY, part=part)) == Done({})
    assert brevo.addresses() == []
