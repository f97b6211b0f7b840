"""Runs that are broken off and answers that are lost in the middle of a shared statement: each refund is paid once all the same."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core import refunds as core
from shared.db.engine import Database
from shared.db.models import JobRun, RefundAttempt
from shared.ports import ProviderRefund
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.together import add, claim, statuses
from worker_svc.refund_steps import LOCK_S, RefundSteps

ROUNDS = 8


class Watched(FakeGateway):
    """Stripe, which refuses what is not on record."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.unrecorded: list[str] = []

    async def create(self, **order: Any) -> ProviderRefund:
        on_record = select(RefundAttempt.id).where(RefundAttempt.idempotency_key == order["idempotency_key"])
        async with self._database.begin() as db:
            if (await db.execute(on_record)).first() is None:
                self.unrecorded.append(order["idempotency_key"])
        made = await super().create(**order)
        await asyncio.sleep(0)
        return made


class Unsteady(Database):
    """Of some statements nobody hears whether they were committed, and they were."""

    chance = random.Random(7)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncConnection]:
        async with super().single() as connection:
            yield connection
        self._perhaps()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with super().begin() as connection:
            yield connection
        self._perhaps()

    def _perhaps(self) -> None:
        if self.chance.random() < 0.2:
            raise ConnectionResetError("the answer was lost")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_broken_off_each_refund_is_paid_once(
    desk: Desk, database: Database, database_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    stripe = Watched(database)
    unsteady = Unsteady(database_url, application="steps", bound_s=20, by_id=True, lock_s=LOCK_S)
    desk = desk.with_gateway(stripe)
    ids = [*await add(desk, stripe, 8), *[await desk.add_refund(f"pi_t{n}", 7) for n in range(4)]]
    await desk.sweep()
    for _ in range(ROUNDS):
        desk.steps = RefundSteps(unsteady)
        await _break_off(desk, await _waiting(desk, ids), chance)
    desk.steps = RefundSteps(database)
    while waiting := await _waiting(desk, ids):
        for each in waiting:
            await desk.pay(each)
    await unsteady.close()

    assert await statuses(desk, ids) == ["succeeded"] * len(ids)
    paid = [core.generation_of(made.metadata, each) for each in ids for made in stripe.refunds.values()]
    assert [generation for generation in paid if generation is not None] == [1] * len(ids)
    assert stripe.unrecorded == []


async def _waiting(desk: Desk, ids: list[UUID]) -> list[UUID]:
    return [each for each in ids if (await desk.refund(each)).status in core.WAITING]


async def _break_off(desk: Desk, ids: list[UUID], chance: random.Random) -> None:
    """All begin at the same moment; each is cancelled some time later, or never."""
    await desk.sweep()
    async with desk.database.session() as session:
        await session.execute(update(JobRun).values(max_attempts=1000))
    tasks = [asyncio.create_task(desk.handle(each)) for each in await claim(desk, ids)]
    for task in tasks:
        if chance.random() < 0.7:
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.2), task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
