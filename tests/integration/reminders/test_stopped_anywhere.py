"""A worker that leaves, or loses its lease, cancels the handler at whatever it awaits just then: while it selects, renders,
freezes one batch and sends others; and leaves behind one that does not listen. Whatever it comes to, the next attempts send
everything that is owed, once."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import pytest

from shared import jobs
from shared.core.errors import RateLimited
from shared.core.outcomes import Outcome
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import HANDLERS, World, open_world

ADDRESSES, EACH = 5, 6  # an address is in a batch once: six batches
ATTEMPTS = 6


async def stopped_after(world: World, run_id: UUID, moments: int, *, deaf: bool) -> asyncio.Task[Outcome]:
    """An attempt that is stopped after so many moments, unless it has ended before. `deaf`: it goes on, without its lease."""
    context = await world.claim(run_id)
    args = jobs.JOBS[context.run.job].decode(context.run.args)
    task = asyncio.ensure_future(HANDLERS[context.run.job](context, args))
    await asyncio.wait({task}, timeout=moments / 1000)
    if deaf:
        context.lease.lose()
    else:
        stopped = task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stopped == task.cancelled(), "a handler that was cancelled says so"
    await world.lose(run_id)
    return task


@pytest.mark.parametrize("deaf", [False, True], ids=["cancelled", "left-behind"])
@pytest.mark.parametrize("seed", range(2))
async def test_a_run_that_is_stopped_anywhere_again_and_again_sends_all_of_it_once(
    database_url: str, brevo: BrevoSandbox, seed: int, deaf: bool
) -> None:
    dice = random.Random(seed)
    async with open_world(database_url, HeldMailer(brevo.mailer())) as world:
        invoices = []
        for number in range(ADDRESSES):
            customer = await world.customer(f"{number}@example.com")
            invoices += [
                await world.invoice(customer, created_at=await world.services.clock.now())
                for _ in range(EACH)
            ]
        run_id = await world.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS)
        attempts = []
        for _ in range(ATTEMPTS):
            attempts.append(await stopped_after(world, run_id, dice.randrange(120), deaf=deaf))
            if not deaf:  # a call that is under way ends before the next one may begin
                await world.age_batches(1)
        await asyncio.gather(*attempts, return_exceptions=True)
        await world.age_batches(1)
        for _ in range(2 * ATTEMPTS):
            if await world.state(run_id) != "pending":
                break
            try:
                await world.attempt(run_id)
            except RateLimited:
                continue
            finally:
                await world.age_batches(1)

        assert await world.state(run_id) == "succeeded"
        assert Counter(brevo.addresses()) == {f"{number}@example.com": EACH for number in range(ADDRESSES)}
        rows = await world.reminders()
        assert Counter(row.invoice_id for row in rows) == dict.fromkeys(invoices, 1)
        assert {row.status for row in rows} <= {"sent", "unconfirmed"}
