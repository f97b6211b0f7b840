"""A refund that has to wait for somebody outside its batch does so alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from shared.db.engine import Database
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.together import add, claim, statuses
from worker_svc.refund_steps import LOCK_S, RefundSteps


@pytest.fixture
async def steps(desk: Desk, database_url: str) -> AsyncIterator[None]:
    """As a worker opens them."""
    by_id = Database(database_url, application="steps", bound_s=20, by_id=True, lock_s=LOCK_S)
    desk.steps = RefundSteps(by_id)
    yield
    await by_id.close()


@pytest.mark.usefixtures("steps")
async def test_a_rival_that_is_being_started_elsewhere_holds_up_its_own_payment_alone(
    desk: Desk, stripe: FakeGateway
) -> None:
    """A process that was stopped in that transaction keeps it open for most of a lease."""
    ids = await add(desk, stripe, 4)
    rival = await desk.add_refund("pi_t0", 7)
    contexts = await claim(desk, ids)
    async with desk.database.begin() as elsewhere:
        await elsewhere.execute(
            text("UPDATE refunds SET status = 'processing' WHERE id = :id"), {"id": rival}
        )
        waits, *others = [asyncio.create_task(desk.handle(each)) for each in contexts]
        async with asyncio.timeout(10):  # the transaction lasts for 20 s, as a wait for it might
            await asyncio.gather(*others)
        assert await statuses(desk, ids) == ["pending", "succeeded", "succeeded", "succeeded"]
        assert not waits.done()
    await waits

    assert await statuses(desk, ids) == ["pending", "succeeded", "succeeded", "succeeded"]
    assert await desk.attempts(ids[0]) == []


@pytest.mark.usefixtures("steps")
async def test_an_answer_of_stripes_that_somebody_is_storing_elsewhere_holds_up_its_own_refund_alone(
    desk: Desk, stripe: FakeGateway
) -> None:
    ids = await add(desk, stripe, 4)
    contexts = await claim(desk, ids)
    stranger = await desk.add_refund("pi_x", 7)
    async with desk.database.begin() as elsewhere:
        taken = text("UPDATE refunds SET provider_refund_id = 're_fake000001' WHERE id = :id")
        await elsewhere.execute(taken, {"id": stranger})
        tasks = [asyncio.create_task(desk.handle(each)) for each in contexts]
        async with asyncio.timeout(10):
            while (await statuses(desk, ids)).count("succeeded") < 3:
                await asyncio.wait(tasks, timeout=0.05)
        await elsewhere.rollback()
    await asyncio.gather(*tasks)

    assert await statuses(desk, ids) == ["succeeded"] * 4
