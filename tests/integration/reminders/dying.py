"""Three customers who owe, and a worker that dies at a certain point of their batch's life."""

from shared import jobs
from shared.core.outcomes import Done
from tests.integration.reminders.held import HeldMailer, killed_at
from tests.integration.reminders.world import World

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
