"""PostgreSQL and Valkey away, stopped, killed: the worker stays, and nothing is done twice or lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from redis.exceptions import ConnectionError as RedisAway

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.core.outcomes import Done, Outcome
from shared.db.engine import Database
from shared.db.migrate import upgrade
from shared.ports import Message
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext

Postgres = Callable[..., EmbeddedPostgres]
Valkey = Callable[..., EmbeddedValkey]


@asynccontextmanager
async def rig_on(database_url: str, redis_url: str) -> AsyncIterator[Rig]:
    database = Database(database_url, application="test", bound_s=10)
    redis = connect(redis_url, client_name="test")
    yield Rig(database_url, redis_url, database, redis)
    await redis.aclose()
    await database.close()


class Counted:
    """Ends when the test lets it; counts how often each run was begun."""

    def __init__(self) -> None:
        self.begun: list[UUID] = []
        self.go_on = asyncio.Event()

    async def __call__(self, context: JobContext, _: Any) -> Outcome:
        self.begun.append(context.run.id)
        await self.go_on.wait()
        return Done({"attempt": context.run.attempt})


async def _restart(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    await asyncio.to_thread(server.start)


async def test_outcomes_wait_for_a_postgres_that_restarts_and_are_recorded_once(
    private_postgres: Postgres, redis_url: str
) -> None:
    server = private_postgres()
    await asyncio.to_thread(upgrade, server.url)
    async with rig_on(server.url, redis_url) as rig:
        handler = Counted()
        async with rig.worker({"ping": handler}, lease_s=6) as worker:
            run_ids = [await rig.enqueue() for _ in range(20)]
            await wait_until_async(lambda: len(handler.begun) == 20)
            await asyncio.to_thread(server.stop, "immediate")
            handler.go_on.set()
            await wait_until_async(lambda: "database" in worker.readiness.problems(), what="not ready")
            await _restart(server)
            back = time.monotonic()
            for run_id in run_ids:
                row = await rig.in_state(run_id, "succeeded")
                assert (row.attempt, row.result) == (1, {"attempt": 1})
            await rig.in_state(await rig.enqueue(), "succeeded")
            assert time.monotonic() - back < 5
            await wait_until_async(lambda: not worker.readiness.problems(), what="ready again")
        assert len(handler.begun) == 21


@pytest.mark.rule(12)
async def test_an_outage_longer_than_the_lease_costs_no_work_while_nobody_took_the_runs(
    private_postgres: Postgres, redis_url: str
) -> None:
    server = private_postgres()
    await asyncio.to_thread(upgrade, server.url)
    async with rig_on(server.url, redis_url) as rig:
        handler = Counted()
        async with rig.worker({"ping": handler}, lease_s=1.0) as worker:
            finished, going_on = await rig.enqueue(), await rig.enqueue()
            await wait_until_async(lambda: len(handler.begun) == 2)
            await asyncio.to_thread(server.stop, "fast")
            (first, second) = list(worker.attempts)
            await wait_until_async(lambda: first.lease.remaining_s == 0 == second.lease.remaining_s)
            # Not trusted any more, so no provider call starts; but nobody has said that the runs are lost.
            assert first.stopped is None
            handler.go_on.set()
            await asyncio.sleep(0.05)
            await _restart(server)
            for run_id in (finished, going_on):
                row = await rig.in_state(run_id, "succeeded")
                assert row.attempt == 1
        assert len(handler.begun) == 2


@pytest.mark.rule(8)
async def test_a_worker_without_postgres_consumes_no_message(
    private_postgres: Postgres, redis_url: str
) -> None:
    server = private_postgres()
    await asyncio.to_thread(upgrade, server.url)
    async with rig_on(server.url, redis_url) as rig:
        async with rig.worker() as worker:
            run_id = await rig.enqueue()
            await rig.in_state(run_id, "succeeded")
            await asyncio.to_thread(server.stop, "fast")
            # The first look may take it and puts it back; from then on it is left where it is.
            await rig.push(run_id, 9)
            await wait_until_async(lambda: _left_alone(rig), timeout=15, what="a message that nobody touches")
            assert not worker.attempts
            await _restart(server)
            back = time.monotonic()
            await rig.in_state(await rig.enqueue(), "succeeded")
            assert time.monotonic() - back < 5


async def _left_alone(rig: Rig) -> bool:
    """Whether nobody takes anything while a worker would have looked several times."""
    before = await _taken(rig)
    for _ in range(150):
        if await _taken(rig) != before:
            return False
        await asyncio.sleep(0.02)
    return await rig.transport.depth("maintenance") == 1


async def _taken(rig: Rig) -> int:
    """How often anybody has taken messages; the server counts commands, those of scripts too."""
    stats = await rig.redis.info("commandstats")
    return int(stats["cmdstat_zpopmin"]["calls"])


async def test_valkey_killed_and_started_again_is_only_a_pause(
    database_url: str, private_valkey: Valkey
) -> None:
    server = private_valkey()
    async with rig_on(database_url, server.url) as rig:
        handler = Counted()
        async with rig.worker({"ping": handler}) as worker:
            running = await rig.enqueue()
            await wait_until_async(lambda: handler.begun, what="a run under way")
            await asyncio.to_thread(server.kill)
            await wait_until_async(lambda: "redis" in worker.readiness.problems(), what="not ready")
            with pytest.raises((RedisAway, OSError)):
                await rig.redis.ping()
            handler.go_on.set()
            await rig.in_state(running, "succeeded")  # what runs needs no Redis to end
            waiting = await rig.enqueue()  # a push that fails is no error for the caller
            await _restart(server)
            back = time.monotonic()
            await rig.due_now(waiting)
            await rig.in_state(waiting, "succeeded")
            assert time.monotonic() - back < 5
            await wait_until_async(lambda: not worker.readiness.problems(), what="ready again")
        assert len(handler.begun) == 2


async def test_what_was_claimed_runs_although_redis_dies_before_it_is_acknowledged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [RedisAway("gone"), RedisAway("gone")]
    real = RedisTransport.acknowledge

    async def acknowledge(self: RedisTransport, queue: str, messages: Sequence[Message]) -> None:
        if messages and failures:
            raise failures.pop()
        await real(self, queue, messages)

    monkeypatch.setattr(RedisTransport, "acknowledge", acknowledge)
    async with rig.worker():
        for _ in range(2):
            row = await rig.in_state(await rig.enqueue(), "succeeded")
            assert row.attempt == 1
        assert await rig.messages() == 2  # taken, never acknowledged
        assert await rig.transport.return_stale("maintenance", 0.0) == 2
        await wait_until_async(lambda: _empty(rig), what="stale messages that were refused")
    states = await rig.database.rows("SELECT state, attempt FROM job_runs")
    assert [tuple(row) for row in states] == [("succeeded", 1)] * 2


async def _empty(rig: Rig) -> bool:
    return await rig.messages() == 0


async def test_a_worker_starts_before_its_servers_and_works_when_they_come(
    private_postgres: Postgres, private_valkey: Valkey
) -> None:
    database, redis = private_postgres(), private_valkey()
    await asyncio.to_thread(upgrade, database.url)
    await asyncio.to_thread(database.stop)
    await asyncio.to_thread(redis.kill)
    async with rig_on(database.url, redis.url) as rig:
        context = rig.worker()
        entering = asyncio.create_task(context.__aenter__())
        await asyncio.sleep(0.05)
        assert not entering.done()
        await _restart(database)
        await _restart(redis)
        await entering
        await rig.in_state(await rig.enqueue(), "succeeded")
        await context.__aexit__(None, None, None)


@pytest.mark.rule(9)
async def test_an_outcome_that_postgres_refuses_is_parked_and_its_neighbours_survive(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shared.core.decide.clean_text", lambda text: text
    )  # as if one way in had been forgotten

    async def handler(context: JobContext, _: Any) -> Outcome:
        if context.run.max_attempts == 3:
            raise ValueError("a NUL: \x00")
        return Done()

    bad = await rig.enqueue_raw("ping", max_attempts=3)
    good = [await rig.enqueue() for _ in range(20)]
    async with rig.worker({"ping": handler}):
        row = await rig.in_state(bad, "dead", within_s=5)
        for run_id in good:
            await rig.in_state(run_id, "succeeded", within_s=5)
    assert row.error.startswith("the outcome (pending) could not be stored: ")
    assert "CharacterNotInRepertoire" in row.error
