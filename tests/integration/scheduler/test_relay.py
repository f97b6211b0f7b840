"""From the ledger to Redis."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from scheduler_svc.outages import Outages
from scheduler_svc.relay import Relay
from shared.db import ledger
from shared.db.engine import Database
from shared.ports import Message
from shared.queue import keys
from shared.queue.transport import RedisTransport
from tests.integration.scheduler.books import Books
from tests.wait import wait_until_async


@pytest.fixture
def relay(database: Database, transport: RedisTransport, outages: Outages) -> Relay:
    return Relay(database, transport, outages)


async def _messages(redis: Redis, queue: str = "maintenance") -> dict[str, float]:
    return {
        member.decode(): score
        for member, score in await redis.zrange(keys.queue(queue), 0, -1, withscores=True)
    }


@pytest.mark.rule(3)
async def test_only_due_runs_are_pushed_and_the_score_is_their_priority(
    books: Books, relay: Relay, redis_client: Redis
) -> None:
    due = books.add_run(priority=7)
    books.add_run(run_at=datetime.now(UTC) + timedelta(hours=1))
    await relay.relay_once()
    assert await _messages(redis_client) == {f"{due}:1": 7.0}
    assert books.get(due).state == "queued"


@pytest.mark.rule(5)
async def test_a_late_mark_does_not_drag_a_running_run_back(
    books: Books, database: Database, outages: Outages, redis_client: Redis
) -> None:
    """Given a worker that claims between push and mark, then the run stays running."""

    class ClaimedAtOnce(RedisTransport):
        async def push(self, queue: str, messages: list[Message]) -> None:  # type: ignore[override]  # narrower
            await super().push(queue, messages)
            async with database.begin() as connection:
                assert len(await ledger.claim(connection, messages, worker="w", lease_s=30)) == 1

    run_id = books.add_run()
    await Relay(database, ClaimedAtOnce(redis_client), outages).relay_once()
    assert books.get(run_id).state == "running"


async def test_killed_between_push_and_mark_the_next_round_pushes_the_same_message(
    books: Books, relay: Relay, transport: RedisTransport, redis_client: Redis
) -> None:
    run_id = books.add_run()
    await transport.push("maintenance", [Message(run_id, 1)])
    await relay.relay_once()
    assert list(await _messages(redis_client)) == [f"{run_id}:1"]


@pytest.mark.rule(19)
async def test_of_a_schedule_that_catches_up_only_the_head_is_released(
    books: Books, relay: Relay, redis_client: Redis
) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    ids: list[UUID] = [
        books.add_run(
            schedule_id="a", schedule_generation=1, due_at=start + timedelta(minutes=n), overlap="queue"
        )
        for n in range(3)
    ]
    for run_id in ids:
        await relay.relay_once()
        await relay.relay_once()
        assert list(await _messages(redis_client)) == [f"{run_id}:1"]
        await redis_client.flushall()
        books.run("UPDATE job_runs SET state = 'succeeded', finished_at = now() WHERE id = :id", id=run_id)


@pytest.mark.rule(23)
@pytest.mark.parametrize(("kind", "name"), [("queue", "maintenance"), ("job", "ping"), ("schedule", "a")])
async def test_paused_runs_wait_where_they_are(
    books: Books, relay: Relay, redis_client: Redis, kind: str, name: str
) -> None:
    run_id = books.add_run(schedule_id="a")
    books.run("INSERT INTO pauses (kind, name) VALUES (:kind, :name)", kind=kind, name=name)
    await relay.relay_once()
    assert await _messages(redis_client) == {}
    books.run("DELETE FROM pauses")
    await relay.relay_once()
    assert books.get(run_id).state == "queued"


async def test_a_flood_in_one_queue_does_not_hide_another(
    books: Books, relay: Relay, redis_client: Redis
) -> None:
    books.run(
        "INSERT INTO job_runs (job, queue, args) SELECT 'ping', 'maintenance', CAST(:args AS jsonb) FROM generate_series(1, 1200)",
        args=json.dumps({}),
    )
    refund = books.add_run(job="process_refund", queue="refunds")
    assert await relay.relay_once() == 500
    assert list(await _messages(redis_client, "refunds")) == [f"{refund}:1"]


async def test_announcements_without_end_do_not_put_the_mark_off(
    books: Books, relay: Relay, redis_client: Redis
) -> None:
    """Given a relay that has looked by itself already, and announcements that follow one another at once."""
    looked_at = books.add_run()
    running = asyncio.create_task(relay.run())
    try:
        await wait_until_async(lambda: books.get(looked_at).state == "queued", what="the first look is over")
        first = books.add_run()

        def marked() -> bool:
            relay.announce({"maintenance": [Message(first, 1)]})
            return bool(books.get(first).state == "queued")

        await wait_until_async(marked, 3, "what was pushed is marked")
    finally:
        running.cancel()
