"""Enqueueing in both its forms: on its own, and inside the caller's transaction."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core.errors import BadInput
from shared.db.engine import Database
from shared.db.models import Customer
from shared.enqueue import Enqueued, Enqueuer
from shared.jobs import PING, PingArgs
from shared.queue.transport import RedisTransport
from tests.integration.enqueue.books import AT_ONCE, MAINTENANCE, messages, runs


async def test_a_run_is_committed_and_pushed(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport
) -> None:
    enqueued = await enqueuer.enqueue(PING, PingArgs(sleep_s=0.5))

    [run] = await runs(database)
    assert enqueued == Enqueued(run.id)
    assert (run.job, run.queue, run.args, run.state) == ("ping", MAINTENANCE, {"sleep_s": 0.5}, "pending")
    assert (run.attempt, run.max_attempts, run.priority, run.key) == (0, 10, 3, None)
    assert await messages(enqueuer, transport) == [(run.id, 1)]


async def test_inside_a_transaction_a_run_is_there_with_the_callers_own_rows(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport
) -> None:
    async with database.session() as session:
        session.add(Customer(email="a@example.com"))
        enqueued = await enqueuer.enqueue(PING, AT_ONCE, session=session)

        assert await runs(database) == []
        assert await messages(enqueuer, transport) == []

    assert [run.id for run in await runs(database)] == [enqueued.run_id]
    assert await database.rows("SELECT email FROM customers") == [("a@example.com",)]
    await enqueuer.close()
    assert await messages(enqueuer, transport) == [(enqueued.run_id, 1)]


async def test_what_is_rolled_back_was_never_enqueued(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport
) -> None:
    async with database.engine.connect() as connection:
        session = AsyncSession(connection)
        await enqueuer.enqueue(PING, AT_ONCE, session=session)
        await session.rollback()
        await session.close()

    await enqueuer.close()
    assert await runs(database) == []
    assert await messages(enqueuer, transport) == []


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
async def test_many_are_one_statement_and_answer_in_their_order(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport, inside: bool
) -> None:
    args = [PingArgs(sleep_s=n) for n in range(50)]
    async with database.session() as session:
        many = await enqueuer.enqueue_many(PING, args, session=session if inside else None)
    await enqueuer.close()

    by_id = {run.id: run.args["sleep_s"] for run in await runs(database)}
    assert [by_id[enqueued.run_id] for enqueued in many] == list(range(50))
    # Equal in priority, they leave in the order of their ids, which sort by the millisecond.
    assert await messages(enqueuer, transport) == sorted((enqueued.run_id, 1) for enqueued in many)


async def test_none_at_all_is_no_statement(enqueuer: Enqueuer, database: Database) -> None:
    assert await enqueuer.enqueue_many(PING, []) == []
    assert await runs(database) == []


async def test_a_run_for_later_is_left_to_the_relay(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    await enqueuer.enqueue(PING, AT_ONCE, run_at=later)

    assert [run.run_at for run in await runs(database)] == [later]
    assert await messages(enqueuer, transport) == []


async def test_a_run_for_an_instant_that_has_passed_is_due_at_once(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport
) -> None:
    earlier = datetime(2001, 2, 3, tzinfo=UTC)

    enqueued = await enqueuer.enqueue(PING, AT_ONCE, run_at=earlier)

    assert [run.run_at for run in await runs(database)] == [earlier]
    assert await messages(enqueuer, transport) == [(enqueued.run_id, 1)]


async def test_an_instant_without_time_zone_is_refused(enqueuer: Enqueuer, database: Database) -> None:
    with pytest.raises(BadInput, match="run_at: needs a time zone"):
        await enqueuer.enqueue(PING, AT_ONCE, run_at=datetime(2030, 1, 31))  # noqa: DTZ001 - the point

    assert await runs(database) == []
