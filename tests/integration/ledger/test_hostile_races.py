"""Statements that meet each other at the worst moment. Each transaction here is held open on purpose."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from shared import jobs
from shared.db import ledger, pauses
from shared.enqueue import Enqueuer
from shared.ports import Message
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.integration.ledger.book import DUE, Book, somebody_waits
from tests.wait import wait_until_async


@pytest.mark.rule(5)
async def test_a_late_mark_leaves_a_run_alone_that_was_put_off(book: Book) -> None:
    """Given a run that was pushed, refused and put off before the push was noted, then it is not queued without a message."""
    run_id = await book.add(run_at=datetime.now(UTC) + timedelta(minutes=1))
    assert await book.mark((run_id, 1)) == 0
    assert await book.state(run_id) == ("pending", 0)


@pytest.mark.rule(23)
async def test_a_paused_run_whose_push_is_noted_meanwhile_still_goes_back_to_pending(book: Book) -> None:
    run_id = await book.add()
    async with book.database.begin() as relay:
        await ledger.mark_queued(relay, [Message(run_id, 1)])
        async with book.database.begin() as operator:
            await pauses.pause(operator, "queue", "maintenance", actor="somebody")
        claiming = asyncio.create_task(book.claim((run_id, 1)))
        await wait_until_async(lambda: somebody_waits(book), what="the claim waits for the mark")
    assert await claiming == []
    assert await book.state(run_id) == ("pending", 0)


@pytest.mark.rule(23)
async def test_a_push_that_is_noted_after_a_pause_refused_the_claim_does_not_queue_the_run(
    book: Book,
) -> None:
    run_id = await book.add()
    async with book.database.begin() as operator:
        await pauses.pause(operator, "queue", "maintenance", actor="somebody")
    assert await book.claim((run_id, 1)) == []
    await book.mark((run_id, 1))
    assert await book.state(run_id) == ("pending", 0)


@pytest.mark.rule(36)
async def test_bulks_that_share_keys_in_another_order_do_not_deadlock(book: Book) -> None:
    keys = [f"k{n}" for n in range(400)]

    async def enqueue(names: list[str]) -> int:
        async with book.database.begin() as connection:
            rows = await ledger.enqueue(connection, jobs.PING, [{} for _ in names], keys=names)
        return sum(row.id is not None for row in rows)

    for _ in range(5):
        await book.database.rows("DELETE FROM job_runs RETURNING id")
        inserted = await asyncio.gather(
            enqueue(keys), enqueue(keys[::-1]), enqueue(keys), enqueue(keys[::-1])
        )
        assert sum(inserted) == len(keys)


@pytest.mark.rule(36)
async def test_a_key_twice_in_one_bulk_is_one_run(book: Book, redis_url: str) -> None:
    redis = connect(redis_url, client_name="test")
    enqueuer = Enqueuer(book.database, RedisTransport(redis))
    answers = await enqueuer.enqueue_many(jobs.PING, [jobs.PingArgs()] * 3, keys=["a", "b", "a"])
    assert answers[0].run_id == answers[2].run_id != answers[1].run_id
    assert [each.existing for each in answers] == [False, False, True]
    await redis.aclose()


@pytest.mark.rule(35)
async def test_a_run_enqueued_inside_a_savepoint_is_pushed_after_the_commit_not_before(
    book: Book, redis_url: str
) -> None:
    redis = connect(redis_url, client_name="test")
    transport = RedisTransport(redis)
    enqueuer = Enqueuer(book.database, transport)
    sessions = async_sessionmaker(book.database.engine)
    async with sessions.begin() as session:
        async with session.begin_nested():
            await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), session=session)
        await enqueuer.close()
        assert await transport.depth("maintenance") == 0
    await enqueuer.close()
    assert await transport.depth("maintenance") == 1
    await redis.aclose()


async def test_claims_heartbeats_outcomes_and_sweeps_of_the_same_runs_do_not_deadlock(book: Book) -> None:
    """Given many that work on the same rows in different orders, then each statement comes through."""
    ids = [await book.add() for _ in range(60)]

    async def claim(order: int) -> None:
        for _ in range(6):
            await book.claim(*[(run_id, 1) for run_id in ids[::order]])
            await book.heartbeat(*[(run_id, 1) for run_id in ids[::order]])
            await book.mark(*[(run_id, 1) for run_id in ids[::-order]])

    async def put_back() -> None:
        for _ in range(12):
            async with book.database.begin() as connection:
                await ledger.unqueue(connection, [Message(i, 1) for i in ids[::-1]], delay_s=0)
            await book.database.rows(
                "UPDATE job_runs SET state = 'pending', attempt = 0, lease_until = NULL"
                " WHERE id IN (SELECT id FROM job_runs ORDER BY id FOR UPDATE) RETURNING id"
            )

    await asyncio.wait_for(asyncio.gather(claim(1), claim(-1), claim(1), put_back()), 30)


@pytest.mark.rule(23)
async def test_a_hundred_thousand_paused_runs_and_a_long_series_cost_the_relay_next_to_nothing(
    book: Book,
) -> None:
    """The relay looks every second: what waits in a paused queue must not slow down the others."""
    other = await book.add(queue="payment_reminders", job="send_reminder")

    async def fastest_s(found: int) -> float:
        took = []
        for _ in range(5):
            began = time.monotonic()
            picked = await book.pick("refunds", "payment_reminders", "maintenance", per_queue=500)
            took.append(time.monotonic() - began)
            assert other in picked
            assert len(picked) == found
        return min(took)

    alone_s = await fastest_s(1)
    for first in range(0, 100_000, 10_000):
        await book.database.rows(
            "INSERT INTO job_runs (job, queue, run_at) SELECT 'process_refund', 'refunds', now() - n * interval '1 ms'"
            " FROM generate_series(:first, :first + 9999) n RETURNING 1",
            first=first,
        )
    await book.database.rows(
        "INSERT INTO job_runs (job, queue, schedule_id, schedule_generation, due_at, overlap)"
        " SELECT 'ping', 'maintenance', 'series', 1, now() - n * interval '1 minute', 'queue'"
        " FROM generate_series(1, 1000) n RETURNING id"
    )
    async with book.database.begin() as operator:
        await pauses.pause(operator, "queue", "refunds", actor="somebody")
    # Of the series the oldest. Reading all that waits would take a hundred times as long.
    assert await fastest_s(2) < 6 * alone_s


@pytest.mark.rule(19)
@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_fire_waits_for_a_later_one_that_is_under_way(book: Book, state: str) -> None:
    """Given an earlier fire that went back, a retry say, while a later one is under way, then it waits."""
    series = {"schedule_id": "series", "schedule_generation": 1, "overlap": "queue"}
    later = await book.add(state, due_at=DUE + timedelta(minutes=1), **series)
    earlier = await book.add(due_at=DUE, **series)
    assert await book.pick() == []
    await book.database.rows(
        "UPDATE job_runs SET state = 'succeeded', lease_until = NULL WHERE id = :id RETURNING id", id=later
    )
    assert await book.pick() == [earlier]
