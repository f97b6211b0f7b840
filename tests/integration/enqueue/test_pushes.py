"""A push wakes a worker; one that fails, hangs or is cancelled is nobody's error (rule 35)."""

import asyncio
import socket
import time
from collections.abc import Sequence
from uuid import UUID

import pytest
from redis.asyncio import Redis

from shared import enqueue
from shared.db.engine import Database
from shared.enqueue import PUSHED_TOGETHER, Enqueuer
from shared.jobs import PING
from shared.ports import Message
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.integration.enqueue.books import AT_ONCE, MAINTENANCE, messages, runs
from tests.wait import wait_until_async


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
