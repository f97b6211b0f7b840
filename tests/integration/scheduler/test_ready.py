"""What a firing pass hands to the relay, so that a fire reaches a worker without being looked up again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from scheduler_svc import relay as relay_module
from scheduler_svc.firing import Firing
from scheduler_svc.outages import Outages
from scheduler_svc.planned import MOST_LINES
from scheduler_svc.relay import Relay
from shared.db.engine import Database
from shared.ports import Message
from shared.queue import keys
from shared.queue.transport import RedisTransport
from tests.integration.scheduler.books import Books
from tests.wait import wait_until_async


async def _members(redis: Redis, queue: str) -> list[str]:
    return [member.decode() for member in await redis.zrange(keys.queue(queue), 0, -1)]


async def test_what_was_fired_is_pushed_and_marked_without_being_looked_up(
    books: Books,
    firing: Firing,
    database: Database,
    transport: RedisTransport,
    outages: Outages,
    redis_client: Redis,
) -> None:
    books.add("ping", due_in_s=-1)
    books.add("sweep", due_in_s=-1, job="process_pending_refunds", store="refunds")
    other = books.add_run()
    relay = Relay(database, transport, outages)
    relay.announce(firing.fire_due().ready)
    await relay.relay_announced()
    assert await _members(redis_client, "maintenance") == [f"{books.runs('ping')[0].id}:1"]
    assert await _members(redis_client, "refunds") == [f"{books.runs('sweep')[0].id}:1"]
    assert {run.state for name in ("ping", "sweep") for run in books.runs(name)} == {"queued"}
    assert books.get(other).state == "pending"


async def test_no_push_waits_for_a_mark_and_a_look_marks_first(
    books: Books,
    firing: Firing,
    database: Database,
    transport: RedisTransport,
    outages: Outages,
    redis_client: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given marks that wait for ever, when schedules fire one after the other, then all reach Redis; a look marks them."""
    monkeypatch.setattr(relay_module, "MARK_AFTER_S", 3600.0)
    async with _watched(database, transport, outages) as relay:
        for number in (1, 2):
            books.add(f"s{number}", due_in_s=-1)
            relay.announce(firing.fire_due().ready)
            await wait_until_async(partial(_has, redis_client, number), what=f"message {number}")
        assert {books.runs(name)[0].state for name in ("s1", "s2")} == {"pending"}
        relay.kick()
        await wait_until_async(
            lambda: {books.runs(name)[0].state for name in ("s1", "s2")} == {"queued"}, what="the marks"
        )


async def test_what_was_announced_is_marked_soon_though_nobody_looks(
    books: Books,
    firing: Firing,
    database: Database,
    transport: RedisTransport,
    outages: Outages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "BACKSTOP_S", 3600.0)
    async with _watched(database, transport, outages) as relay:
        books.add("a", due_in_s=-1)
        relay.announce(firing.fire_due().ready)
        await wait_until_async(lambda: books.runs("a")[0].state == "queued", what="the mark")


@asynccontextmanager
async def _watched(database: Database, transport: RedisTransport, outages: Outages) -> AsyncIterator[Relay]:
    """A relay that runs, and has looked."""
    relay = _Watched(database, transport, outages)
    running = asyncio.create_task(relay.run())
    await relay.has_looked()
    yield relay
    running.cancel()


class _Watched(Relay):
    """Its first look would find and mark everything."""

    looks = 0

    async def relay_once(self) -> int:
        found = await super().relay_once()
        self.looks += 1
        return found

    async def has_looked(self) -> None:
        await wait_until_async(lambda: self.looks == 1, what="the first look")


async def _has(redis: Redis, messages: int) -> bool:
    return len(await _members(redis, "maintenance")) == messages


@pytest.mark.rule(23)
def test_fires_of_a_paused_queue_or_job_are_not_ready(books: Books, firing: Firing) -> None:
    books.run("INSERT INTO pauses (kind, name) VALUES ('queue', 'refunds'), ('job', 'daily_cleanup')")
    books.add("by-queue", due_in_s=-1, job="process_pending_refunds", store="refunds")
    books.add("by-job", due_in_s=-1, job="daily_cleanup")
    done = firing.fire_due()
    assert (done.runs, done.ready) == (2, {})


@pytest.mark.rule(19)
def test_fires_that_wait_for_each_other_are_left_to_the_relay(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-1, overlap="queue")
    done = firing.fire_due()
    assert (done.runs, done.ready) == (1, {})


def test_a_skipped_fire_is_not_ready(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-1)
    firing.fire_due()
    books.run("UPDATE schedules SET next_run_time = next_run_time - 59.5")
    done = firing.fire_due()
    assert (done.schedules, done.runs, done.ready) == (1, 0, {})


@pytest.mark.rule(9)
def test_each_run_is_ready_for_its_own_queue_where_a_batch_had_to_be_written_one_by_one(
    books: Books, firing: Firing
) -> None:
    books.add("a", due_in_s=-3, job="process_pending_refunds", store="refunds")
    books.add("b", due_in_s=-2)
    books.add("c", due_in_s=-1)
    books.run("ALTER TABLE job_runs ADD CONSTRAINT no_b CHECK (schedule_id <> 'b')")
    ready = firing.fire_due().ready
    assert {queue: [m.run_id for m in its] for queue, its in ready.items()} == {
        "refunds": [UUID(str(books.runs("a")[0].id))],
        "maintenance": [UUID(str(books.runs("c")[0].id))],
    }


def test_many_fires_of_a_batch_are_one_line_in_the_log(
    books: Books, firing: Firing, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(MOST_LINES + 1):
        books.add(f"s{n}", due_in_s=-1)
    firing.fire_due()
    lines = [line for line in capsys.readouterr().out.splitlines() if "_fired" in line]
    assert len(lines) == 1
    assert "schedules_fired" in lines[0]


@pytest.mark.rule(23)
async def test_what_was_announced_before_an_outage_is_looked_up_after_it(
    books: Books, firing: Firing, database: Database, outages: Outages, redis_client: Redis
) -> None:
    """Nothing piles up while Redis is away, and a queue that was paused meanwhile stays paused."""

    class AwayOnce(RedisTransport):
        away = True

        async def push(self, queue: str, messages: Sequence[Message]) -> None:
            if self.away:
                self.away = False
                raise ConnectionError("away")
            await super().push(queue, messages)

    books.add("ping", due_in_s=-1)
    books.add("sweep", due_in_s=-2, job="process_pending_refunds", store="refunds")
    relay = Relay(database, AwayOnce(redis_client), outages)
    for queue, messages in sorted(firing.fire_due().ready.items()):
        relay.announce({queue: messages})
    with pytest.raises(ConnectionError):
        await relay.run()
    books.run("INSERT INTO pauses (kind, name) VALUES ('queue', 'refunds')")
    running = asyncio.create_task(relay.run())
    await wait_until_async(lambda: books.runs("ping")[0].state == "queued", what="the other queue's run")
    running.cancel()
    assert await _members(redis_client, "refunds") == []


async def test_announcements_without_end_do_not_keep_the_relay_from_looking(
    books: Books, database: Database, outages: Outages, redis_client: Redis
) -> None:
    class Flood(RedisTransport):
        left = 20

        async def push(self, queue: str, messages: Sequence[Message]) -> None:
            await super().push(queue, messages)
            order.append(queue)
            if self.left:
                self.left -= 1
                relay.announce({"maintenance": [Message(uuid4(), 1)]})

    order: list[str] = []
    books.add_run(job="process_pending_refunds", queue="refunds")
    relay = Relay(database, Flood(redis_client), outages)
    running = asyncio.create_task(relay.run())
    relay.announce({"maintenance": [Message(uuid4(), 1)]})
    await wait_until_async(lambda: "refunds" in order, what="the refund's run")
    running.cancel()
    assert order.index("refunds") < 3
