"""What was lost is put back."""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from local_stack.postgres import EmbeddedPostgres
from scheduler_svc.outages import Outages
from scheduler_svc.redis_memory import RedisMemory
from scheduler_svc.sweeper import Sweeper
from shared.db.engine import Database, sync_engine
from shared.db.migrate import upgrade
from shared.ports import Message
from shared.queue import keys
from shared.queue.transport import RedisTransport
from tests.integration.scheduler.books import Books


@pytest.fixture
def sweeper(database: Database, transport: RedisTransport, redis_client: Redis, outages: Outages) -> Sweeper:
    # The shared server is a few seconds old at least: a lease of milliseconds is older than that.
    memory = RedisMemory(redis_client, database, outages)
    return Sweeper(database, transport, memory, outages, lease_s=0.05)


@pytest.mark.rule(13)
async def test_the_first_loss_is_retried_at_once_and_later_ones_with_backoff(
    books: Books, sweeper: Sweeper
) -> None:
    first, third = books.add_lost(), books.add_lost(losses=2)
    await sweeper.sweep()
    assert (books.get(first).state, books.get(first).run_in <= timedelta(0)) == ("pending", True)
    assert (books.get(third).state, books.get(third).losses) == ("pending", 3)
    assert timedelta(seconds=9) < books.get(third).run_in < timedelta(seconds=21)
    assert "lease expired" in books.get(third).error


async def test_a_run_that_used_up_its_attempts_is_dead(books: Books, sweeper: Sweeper) -> None:
    poison = books.add_lost(max_attempts=1)
    await sweeper.sweep()
    assert books.get(poison).state == "dead"


async def test_a_lost_run_of_a_job_nobody_here_knows_is_retried_as_any_other(
    books: Books, sweeper: Sweeper
) -> None:
    run_id = books.add_lost(job="from-a-newer-version")
    await sweeper.sweep()
    assert books.get(run_id).state == "pending"


@pytest.mark.rule(12)
async def test_no_lease_is_judged_for_a_lease_time_after_a_failed_query(
    books: Books, database: Database, transport: RedisTransport, redis_client: Redis, outages: Outages
) -> None:
    memory = RedisMemory(redis_client, database, outages)
    sweeper = Sweeper(database, transport, memory, outages, lease_s=0.5)
    run_id = books.add_lost()
    outages.postgres_failed(ConnectionRefusedError("away"))
    failed_at = time.monotonic()
    while books.get(run_id).state == "running":
        await sweeper.sweep()
        assert time.monotonic() - failed_at < 10
    assert time.monotonic() - failed_at >= 0.5


@pytest.mark.rule(12)
async def test_no_lease_is_judged_for_a_lease_time_after_the_server_started(
    private_postgres: Callable[..., EmbeddedPostgres],
    transport: RedisTransport,
    redis_client: Redis,
    outages: Outages,
) -> None:
    server = private_postgres()
    upgrade(server.url)
    engine, database = sync_engine(server.url, application="test", bound_s=10), None
    try:
        books = Books(engine)
        run_id = books.add_lost()
        database = Database(server.url, application="test", bound_s=10)
        memory = RedisMemory(redis_client, database, outages)
        await Sweeper(database, transport, memory, outages, lease_s=600).sweep()
        assert books.get(run_id).state == "running"
        await Sweeper(database, transport, memory, outages, lease_s=0.01).sweep()
        assert books.get(run_id).state == "pending"
    finally:
        engine.dispose()
        if database is not None:
            await database.close()


@pytest.mark.rule(14)
async def test_what_redis_forgot_is_pushed_again_at_once(
    books: Books, sweeper: Sweeper, transport: RedisTransport, redis_client: Redis
) -> None:
    """Given Redis that is cleared after it was known, then all queued runs have messages after one sweep."""
    await sweeper.sweep()
    fresh = books.add_queued()
    books.run("UPDATE job_runs SET queued_at = now()")  # too young for the rolling check
    await redis_client.flushall()
    await sweeper.sweep()
    assert await transport.missing("maintenance", [Message(fresh, 1)]) == []


@pytest.mark.rule(14)
@pytest.mark.parametrize("change", ["older", "restarted"])
async def test_an_older_marker_or_another_server_means_that_redis_forgot(
    books: Books, database: Database, outages: Outages, redis_client: Redis, change: str
) -> None:
    memory = RedisMemory(redis_client, database, outages)
    for _ in range(3):
        await memory.note()
    successor = RedisMemory(redis_client, database, outages)
    assert not await successor.lost()
    if change == "older":
        await redis_client.set(keys.MARKER, 1)
    else:
        books.run("UPDATE redis_marks SET redis_run_id = 'another'")
    assert await RedisMemory(redis_client, database, outages).lost()


@pytest.mark.rule(14)
async def test_once_pushed_again_redis_is_trusted_again(
    sweeper: Sweeper, database: Database, outages: Outages, redis_client: Redis
) -> None:
    await sweeper.sweep()
    await redis_client.flushall()
    await sweeper.sweep()
    assert not await RedisMemory(redis_client, database, outages).lost()


@pytest.mark.rule(14)
async def test_a_single_message_that_is_missing_is_found_by_the_rolling_check(
    books: Books, sweeper: Sweeper, transport: RedisTransport, redis_client: Redis
) -> None:
    await sweeper.sweep()
    ids = [books.add_queued() for _ in range(3)]
    messages = [Message(run_id, 1) for run_id in ids]
    await transport.push("maintenance", messages)
    await redis_client.zrem(keys.queue("maintenance"), f"{ids[1]}:1")
    await sweeper.sweep()
    assert await transport.missing("maintenance", messages) == []


async def test_messages_that_a_dead_worker_took_go_back(
    books: Books, sweeper: Sweeper, transport: RedisTransport
) -> None:
    run_id = books.add_queued()
    await transport.push("maintenance", [Message(run_id, 1)])
    taken = await transport.take("maintenance", 1)
    assert await transport.depth("maintenance") == 0
    deadline = time.monotonic() + 10
    while await transport.depth("maintenance") == 0:
        await sweeper.sweep()
        assert time.monotonic() < deadline
    assert [m.run_id for m in taken] == [run_id]


@pytest.mark.rule(14)
@pytest.mark.parametrize(
    "key",
    [
        keys.queue("maintenance"),
        keys.taken("maintenance"),
        keys.wake("maintenance"),
        keys.PARKED,
        keys.MARKER,
    ],
)
async def test_a_key_that_somebody_used_for_something_else_is_set_aside_and_listed_as_parked(
    books: Books, sweeper: Sweeper, transport: RedisTransport, redis_client: Redis, key: str
) -> None:
    """Given queued runs, and a key of ours that is a hash now, then after one sweep their messages can be taken."""
    await sweeper.sweep()
    run_id = books.add_queued()
    await redis_client.delete(key)
    await redis_client.hset(key, "somebody", "else's")
    await sweeper.sweep()
    assert [message.run_id for message in await transport.take("maintenance", 10)] == [run_id]
    [aside] = await redis_client.lrange(keys.PARKED, 0, -1)
    assert await redis_client.hgetall(aside) == {b"somebody": b"else's"}


@pytest.mark.rule(14)
@pytest.mark.parametrize("marker", ["many", "-5", "9223372036854775807"])
async def test_a_marker_that_cannot_count_is_set_aside(
    sweeper: Sweeper, redis_client: Redis, marker: str
) -> None:
    await redis_client.set(keys.MARKER, marker)
    await sweeper.sweep()
    assert int(await redis_client.get(keys.MARKER)) < 10
    [aside] = await redis_client.lrange(keys.PARKED, 0, -1)
    assert await redis_client.get(aside) == marker.encode()


async def test_a_message_that_was_taken_in_the_future_comes_back(
    sweeper: Sweeper, transport: RedisTransport, redis_client: Redis
) -> None:
    """Given a server whose clock was set back after a worker had taken a message and died."""
    await transport.push("maintenance", [Message(UUID(int=1), 1)])
    await transport.take("maintenance", 1)
    await redis_client.zincrby(keys.taken("maintenance"), 3600, f"{UUID(int=1)}:1")
    await sweeper.sweep()
    assert await transport.depth("maintenance") == 1
