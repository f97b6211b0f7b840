"""Enqueueing in both its forms: on its own, and inside the caller's transaction."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from shared import enqueue
from shared.core.errors import BadInput
from shared.db.engine import Database
from shared.db.models import Customer
from shared.enqueue import PUSHED_TOGETHER, Enqueued, Enqueuer
from shared.jobs import APPLY_STRIPE_EVENT, PING, PROCESS_REFUND, PingArgs, RefundArgs, WebhookArgs
from shared.ports import Message
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.wait import wait_until_async

MAINTENANCE = "maintenance"
AT_ONCE, LATER = PingArgs(), PingArgs(sleep_s=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application="test", bound_s=5)
    yield database
    await database.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def transport(redis: Redis) -> RedisTransport:
    return RedisTransport(redis)


@pytest.fixture
async def enqueuer(database: Database, transport: RedisTransport) -> AsyncIterator[Enqueuer]:
    enqueuer = Enqueuer(database, transport)
    yield enqueuer
    await enqueuer.close()


async def runs(database: Database) -> list[Any]:
    return await database.rows("SELECT * FROM job_runs ORDER BY id")


async def messages(enqueuer: Enqueuer, transport: RedisTransport) -> list[tuple[UUID, int]]:
    await enqueuer.close()  # nobody else waits for a push
    return [(message.run_id, message.attempt) for message in await transport.take(MAINTENANCE, 100)]


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


@pytest.mark.rule(36)
@pytest.mark.parametrize("state", ["pending", "queued", "succeeded", "dead", "cancelled", "skipped"])
async def test_a_key_that_exists_returns_its_run_in_whatever_state(
    enqueuer: Enqueuer, database: Database, transport: RedisTransport, state: str
) -> None:
    first = await enqueuer.enqueue(PING, AT_ONCE, key="k")
    await database.rows("UPDATE job_runs SET state = :state RETURNING id", state=state)
    await messages(enqueuer, transport)

    second = await enqueuer.enqueue(PING, LATER, key="k")

    assert second == Enqueued(first.run_id, existing=True)
    [run] = await runs(database)
    assert (run.state, run.args) == (state, {"sleep_s": 0.0})
    assert await messages(enqueuer, transport) == []


@pytest.mark.rule(36)
async def test_a_key_is_free_again_when_its_run_was_pruned(enqueuer: Enqueuer, database: Database) -> None:
    first = await enqueuer.enqueue(PING, AT_ONCE, key="k")
    await database.rows("DELETE FROM job_runs RETURNING id")

    assert await enqueuer.enqueue(PING, AT_ONCE, key="k") != first


@pytest.mark.rule(36)
async def test_a_key_belongs_to_its_job(enqueuer: Enqueuer, database: Database) -> None:
    await enqueuer.enqueue(PING, AT_ONCE, key="k")
    other = await enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=uuid4()), key="k")

    assert not other.existing
    assert len(await runs(database)) == 2


@pytest.mark.rule(36)
async def test_many_at_once_with_one_key_are_one_run(enqueuer: Enqueuer, database: Database) -> None:
    answers = await asyncio.gather(*(enqueuer.enqueue(PING, AT_ONCE, key="k") for _ in range(10)))

    assert len({answer.run_id for answer in answers}) == 1
    assert [answer.existing for answer in answers].count(False) == 1
    assert len(await runs(database)) == 1


@pytest.mark.rule(36)
async def test_a_key_twice_in_one_call_is_one_run(enqueuer: Enqueuer, database: Database) -> None:
    many = await enqueuer.enqueue_many(PING, [AT_ONCE] * 3, keys=["k", None, "k"])

    assert many[0].run_id == many[2].run_id != many[1].run_id
    assert [enqueued.existing for enqueued in many].count(True) == 1
    assert len(await runs(database)) == 2


@pytest.mark.rule(36)
async def test_a_bulk_whose_keys_cannot_be_looked_up_is_not_there_at_all(
    enqueuer: Enqueuer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enqueuer.enqueue(PING, AT_ONCE, key="a")

    async def fails(*_: object) -> list[Enqueued]:
        raise ConnectionResetError("PostgreSQL went away between insert and look-up")

    monkeypatch.setattr("shared.enqueue._existing", fails)
    with pytest.raises(ConnectionResetError):
        await enqueuer.enqueue_many(PING, [AT_ONCE] * 3, keys=["a", "b", None])
    assert len(await runs(database)) == 1


async def test_a_job_can_derive_its_key_from_its_arguments(enqueuer: Enqueuer, database: Database) -> None:
    first, second = [
        await enqueuer.enqueue(APPLY_STRIPE_EVENT, WebhookArgs(event_id="evt_1")) for _ in range(2)
    ]

    assert second == Enqueued(first.run_id, existing=True)
    assert [run.key for run in await runs(database)] == ["stripe:evt_1"]


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


@pytest.mark.rule(35)
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
async def test_a_push_that_fails_or_hangs_is_no_error_and_costs_no_time(
    database: Database, silent: bool, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue, "PUSH_TIMEOUT_S", 0.2)  # as it is outside of these tests
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if not silent:
            listener.close()
        redis = connect(f"redis://127.0.0.1:{port}/0", client_name="test")
        enqueuer = Enqueuer(database, RedisTransport(redis))
        await database.ping()
        began = time.monotonic()

        async with database.session() as session:
            enqueued = await enqueuer.enqueue(PING, AT_ONCE, session=session if inside else None)

        took = time.monotonic() - began
        await enqueuer.close()
        await redis.aclose()
    assert took < 0.4
    assert [run.id for run in await runs(database)] == [enqueued.run_id]


class Held(RedisTransport):
    """Pushes when it is let, and keeps what each push had."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.pushes: list[list[UUID]] = []
        self.let = asyncio.Event()

    async def push(self, queue: str, messages: Sequence[Message]) -> None:
        self.pushes.append([message.run_id for message in messages])
        await self.let.wait()
        await super().push(queue, messages)


@pytest.mark.rule(35)
async def test_an_answer_waits_for_no_push_and_what_comes_meanwhile_goes_together(
    database: Database, redis_url: str
) -> None:
    redis = connect(redis_url, client_name="test")
    held = Held(redis)
    enqueuer = Enqueuer(database, held)

    first = await enqueuer.enqueue(PING, AT_ONCE)
    await wait_until_async(lambda: held.pushes, what="a push")
    later = [await enqueuer.enqueue(PING, AT_ONCE) for _ in range(3)]
    held.let.set()
    pushed = await messages(enqueuer, held)

    assert held.pushes == [[first.run_id], [run.run_id for run in later]]
    assert sorted(pushed) == sorted((run.run_id, 1) for run in (first, *later))
    await redis.aclose()


class Failing(RedisTransport):
    """Each push fails; how many there were."""

    pushes = 0

    async def push(self, queue: str, messages: Sequence[Message]) -> None:
        self.pushes += 1
        raise OSError


@pytest.mark.rule(35)
async def test_what_waits_behind_a_push_that_fails_is_the_relays_too(
    database: Database, redis_url: str
) -> None:
    redis = connect(redis_url, client_name="test")
    failing = Failing(redis)
    enqueuer = Enqueuer(database, failing)
    many = await enqueuer.enqueue_many(PING, [AT_ONCE] * (PUSHED_TOGETHER * 3))
    await enqueuer.close()
    assert failing.pushes == 1
    assert len(await runs(database)) == len(many)
    await enqueuer.enqueue(PING, AT_ONCE)
    await enqueuer.close()
    assert failing.pushes == 2
    await redis.aclose()


async def test_a_push_that_is_cancelled_silences_nobody(database: Database, redis_url: str) -> None:
    redis = connect(redis_url, client_name="test")
    transport = RedisTransport(redis)
    enqueuer = Enqueuer(database, transport)
    before = asyncio.all_tasks()
    await enqueuer.enqueue(PING, AT_ONCE)
    for push in asyncio.all_tasks() - before:
        push.cancel()
    await enqueuer.close()
    later = await enqueuer.enqueue(PING, AT_ONCE)
    assert (later.run_id, 1) in await messages(enqueuer, transport)
    await redis.aclose()


async def test_a_waiting_worker_is_woken(enqueuer: Enqueuer, transport: RedisTransport) -> None:
    waiting = asyncio.create_task(transport.wait_and_take(MAINTENANCE, 10, 5))
    await wait_until_async(lambda: not waiting.done(), what="the wait has begun")

    run = await enqueuer.enqueue(PING, AT_ONCE)

    assert [each.run_id for each in await asyncio.wait_for(waiting, 2)] == [run.run_id]
