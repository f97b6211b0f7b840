"""Refunds that are paid at the same moment share statements, and nothing else: not a lock, not an error, not an answer."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import event, text

from shared.core.errors import Fenced
from shared.core.outcomes import Outcome, Recorded, Snooze
from shared.ports import ProviderRefund
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from worker_svc.context import JobContext

AT_ONCE = 20


async def add(desk: Desk, stripe: FakeGateway, count: int) -> list[UUID]:
    """Refunds of as many payments, each with its run."""
    for number in range(count):
        stripe.add_intent(f"pi_t{number}")
    ids = [await desk.add_refund(f"pi_t{number}", 100 + number) for number in range(count)]
    await desk.sweep()
    return ids


async def claim(desk: Desk, ids: list[UUID]) -> list[JobContext]:
    return [await desk.claim((await desk.refund(each)).run_id) for each in ids]


async def handle(desk: Desk, contexts: list[JobContext]) -> list[Outcome | Exception]:
    return await asyncio.gather(*(desk.handle(each) for each in contexts))


async def statuses(desk: Desk, ids: list[UUID]) -> list[str]:
    return [(await desk.refund(each)).status for each in ids]


@contextmanager
def counted(desk: Desk) -> Iterator[list[str]]:
    """The statements that go to the database meanwhile."""
    seen: list[str] = []
    engine = desk.database.engine.sync_engine

    def note(_: Any, __: Any, sql: str, *___: Any) -> None:
        seen.append(sql)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_refunds_at_the_same_step_share_its_statement(desk: Desk, stripe: FakeGateway) -> None:
    ids = await add(desk, stripe, AT_ONCE)
    contexts = await claim(desk, ids)
    with counted(desk) as statements:
        answers = await handle(desk, contexts)

    assert all(isinstance(answer, Recorded) for answer in answers)
    assert await statuses(desk, ids) == ["succeeded"] * AT_ONCE
    assert [len(await desk.attempts(each)) for each in ids] == [1] * AT_ONCE
    assert len(statements) < 2 * AT_ONCE


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
