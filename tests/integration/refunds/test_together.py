"""Refunds that are paid at the same moment share statements, and nothing else: not a lock, not an error, not an answer."""

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy import text

from shared.core.errors import Fenced
from shared.core.outcomes import Recorded, Snooze
from shared.db.statements import statement
from shared.ports import ProviderRefund
from tests.fakes.gateway import FakeGateway
from tests.fakes.limiter import FakeRateLimiter
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.together import add, claim, counted, handle, statuses

AT_ONCE = 20


class Unlimited(FakeRateLimiter):
    """Turns as they are asked for: nobody is ahead of the others."""

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        self.turns.append(name)


async def test_refunds_at_the_same_step_share_its_statement(
    desk: Desk, stripe: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.limiter = Unlimited()
    ids = await add(desk, stripe, AT_ONCE)
    contexts = await claim(desk, ids)
    with counted(desk, monkeypatch) as statements:
        answers = await handle(desk, contexts)

    assert all(isinstance(answer, Recorded) for answer in answers)
    assert await statuses(desk, ids) == ["succeeded"] * AT_ONCE
    assert [len(await desk.attempts(each)) for each in ids] == [1] * AT_ONCE
    for step in ("refund_take_many", "refund_start_many"):
        assert 1 <= statements.count(statement(step).text) <= 2
    assert len(statements) < AT_ONCE / 2


async def test_a_refund_that_somebody_holds_holds_up_no_other(desk: Desk, stripe: FakeGateway) -> None:
    ids = await add(desk, stripe, 4)
    held, *others = await claim(desk, ids)
    async with desk.database.begin() as somebody:
        await somebody.execute(text("SELECT FROM refunds WHERE id = :id FOR UPDATE"), {"id": ids[0]})
        waits = asyncio.create_task(desk.handle(held))
        await handle(desk, others)
        assert await statuses(desk, ids) == ["pending", "succeeded", "succeeded", "succeeded"]
        assert not waits.done()
    await waits

    assert await statuses(desk, ids) == ["succeeded"] * 4


class Slow(FakeGateway):
    """Answers nobody who wants to pay before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def create(self, **order: Any) -> ProviderRefund:
        await self.answers.wait()
        return await super().create(**order)


async def test_of_two_refunds_of_one_payment_in_a_batch_one_waits(desk: Desk) -> None:
    stripe = Slow()
    desk = desk.with_gateway(stripe)
    ids = [*await add(desk, stripe, 3), await desk.add_refund("pi_t0", 7), await desk.add_refund("pi_t1", 7)]
    await desk.sweep()
    tasks = [asyncio.create_task(desk.handle(each)) for each in await claim(desk, ids)]
    waiting = [await each for each in itertools.islice(asyncio.as_completed(tasks), 2)]
    assert [type(each) for each in waiting] == [Snooze, Snooze]
    stripe.answers.set()
    await asyncio.gather(*tasks)

    paid = [status == "succeeded" for status in await statuses(desk, ids)]
    assert paid[2]
    assert (paid[0], paid[1]) == (not paid[3], not paid[4])


class OneIsUnreadable(FakeGateway):
    """Of the refund of 101 PostgreSQL cannot store the id."""

    async def create(self, **order: Any) -> ProviderRefund:
        made = await super().create(**order)
        if order["amount"] != 101:
            return made
        return ProviderRefund(
            "re_\0", made.payment_intent_id, made.amount, made.currency, made.status, made.failure_reason, made.metadata
        )  # fmt: skip


async def test_an_answer_that_cannot_be_stored_discards_no_other(desk: Desk) -> None:
    stripe = OneIsUnreadable()
    desk = desk.with_gateway(stripe)
    ids = await add(desk, stripe, 5)
    await handle(desk, await claim(desk, ids))

    assert await statuses(desk, ids) == ["succeeded", "processing", "succeeded", "succeeded", "succeeded"]


async def test_of_two_attempts_at_one_run_in_a_batch_the_later_one_has_it(
    desk: Desk, stripe: FakeGateway
) -> None:
    [refund_id] = await add(desk, stripe, 1)
    run_id = (await desk.refund(refund_id)).run_id
    lost, mine = await desk.claim(run_id), await desk.claim(run_id)
    was_lost, was_mine = await handle(desk, [lost, mine])

    assert isinstance(was_lost, Fenced)
    assert isinstance(was_mine, Recorded)
    assert [each.run_attempt for each in await desk.attempts(refund_id)] == [2]
