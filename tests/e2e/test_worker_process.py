"""Workers as processes: killed, stopped, frozen, poisoned; and how they end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import datetime
from uuid import UUID

import psycopg2
import pytest

from shared import jobs
from shared.db.engine import Database
from shared.queue.connection import connect
from tests.e2e.processes import Process
from tests.integration.worker.rig import Rig
from tests.wait import wait_until, wait_until_async

Start = Callable[..., Process]
LEASE_S = 2.0
SHORT = {"RUN_LEASE_S": str(LEASE_S), "LEADER_TTL_S": "1.5"}


@pytest.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[Rig]:
    """The ledger and the queues, from the outside."""
    database = Database(database_url, application="test", bound_s=10)
    redis = connect(redis_url, client_name="test")
    yield Rig(database_url, redis_url, database, redis)
    await redis.aclose()
    await database.close()


async def ready(process: Process) -> Process:
    return await asyncio.to_thread(process.wait_ready)


async def ended(process: Process, timeout: float) -> int:  # noqa: ASYNC109  # it is handed on
    return await asyncio.to_thread(process.end, timeout)


async def ping(rig: Rig, sleep_s: float = 0.0) -> UUID:
    return await rig.enqueue(jobs.PING, jobs.PingArgs(sleep_s=sleep_s))


async def leading(processes: Start, **settings: str) -> Process:
    """A scheduler, for its relay and sweeper."""
    scheduler = processes("scheduler_svc", **SHORT, **settings)
    return await ready(scheduler)


async def test_a_worker_runs_what_is_enqueued_and_ends_on_a_signal_with_status_0(
    processes: Start, rig: Rig
) -> None:
    worker = await ready(processes("worker_svc"))
    row = await rig.in_state(await ping(rig), "succeeded")
    assert row.attempt == 1
    worker.send(signal.SIGTERM)
    assert await ended(worker, 10) == 0
    # By its own account: the interpreter's end takes as long as the machine is busy.
    [told], [stopped] = worker.events("stopping"), worker.events("process_stopped")
    took = datetime.fromisoformat(stopped["timestamp"]) - datetime.fromisoformat(told["timestamp"])
    assert took.total_seconds() < 1
    assert not [line for line in worker.events() if line["level"] in ("warning", "error", "critical")]
    assert await rig.redis.keys("cuebx:process:*") == []


async def test_ctrl_c_ends_it_in_the_same_way(processes: Start) -> None:
    worker = await ready(processes("worker_svc"))
    worker.send(signal.SIGINT)
    assert await ended(worker, 5) == 0
    assert "Traceback" not in worker.output


async def test_a_run_whose_worker_is_killed_runs_elsewhere_within_its_lease_and_two_seconds(
    processes: Start, rig: Rig
) -> None:
    await leading(processes)
    worker = await ready(processes("worker_svc", **SHORT))
    run_id = await ping(rig, 60)
    first = await rig.in_state(run_id, "running")
    await ready(processes("worker_svc", **SHORT))
    killed_at = time.monotonic()
    worker.kill()

    async def elsewhere() -> bool:
        row = await rig.run(run_id)
        return bool(row.state == "running" and row.attempt == 2 and row.worker != first.worker)

    await wait_until_async(elsewhere, LEASE_S + 8, "the run, elsewhere")
    assert time.monotonic() - killed_at < LEASE_S + 2
    assert (await rig.run(run_id)).losses == 1


async def test_sigterm_lets_what_runs_finish_and_hands_back_what_outlasts_the_grace(
    processes: Start, rig: Rig
) -> None:
    await leading(processes)
    leaving = await ready(processes("worker_svc", WORKER_GRACE_S="2"))
    short, long = await ping(rig, 1), await ping(rig, 60)
    for run_id in (short, long):
        await rig.in_state(run_id, "running")
    other = await ready(processes("worker_svc", WORKER_GRACE_S="0"))
    leaving.send(signal.SIGTERM)
    assert await ended(leaving, 10) == 0
    row = await rig.run(short)
    assert (row.state, row.attempt) == ("succeeded", 1)

    async def elsewhere() -> bool:
        row = await rig.run(long)
        return bool(row.state == "running" and row.worker.endswith(f":{other.pid}"))

    await wait_until_async(elsewhere, 5, "the long run, elsewhere")
    row = await rig.run(long)
    assert (row.attempt, row.max_attempts, row.losses) == (2, 11, 0)


@pytest.mark.rule(6)
async def test_a_worker_that_wakes_after_its_lease_changes_nothing(processes: Start, rig: Rig) -> None:
    await leading(processes)
    frozen = await ready(processes("worker_svc", **SHORT))
    run_id = await ping(rig, 4)
    await rig.in_state(run_id, "running")
    # At once: the other's start may take longer than the run.
    frozen.send(signal.SIGSTOP)
    other = await ready(processes("worker_svc", **SHORT))

    async def elsewhere() -> bool:
        return bool((await rig.run(run_id)).attempt == 2)

    await wait_until_async(elsewhere, 30, "the run, elsewhere")
    frozen.send(signal.SIGCONT)
    assert (await asyncio.to_thread(frozen.wait_for, "run_ended"))["state"] == "lost"
    row = await rig.in_state(run_id, "succeeded")
    assert (row.attempt, row.losses) == (2, 1)
    assert len(other.events("run_ended")) == 1
    # And it goes on working: frozen is not stuck.
    other.kill()
    again = await rig.in_state(await ping(rig), "succeeded")
    assert again.attempt == 1
    assert frozen.status is None


async def test_a_job_that_kills_its_worker_ends_dead_with_its_error(processes: Start, rig: Rig) -> None:
    await leading(processes)
    run_id = (
        await rig.database.rows(
            "INSERT INTO job_runs (job, queue, max_attempts) VALUES ('ping', 'maintenance', 2) RETURNING id"
        )
    )[0].id
    statuses = []
    for attempt in (1, 2):
        worker = processes("tests.e2e.hostile_worker", HOSTILE="exit", **SHORT)
        await rig.database.rows("UPDATE job_runs SET run_at = now() RETURNING 1")
        statuses.append(await ended(worker, 20))
        row = await rig.in_state(run_id, "pending", "queued", "dead", within_s=LEASE_S + 3)
        assert row.attempt == attempt
    assert statuses == [13, 13]
    assert row.state == "dead"
    assert row.losses == 2
    assert "the worker was lost while running attempt 2" in row.error


async def test_a_job_that_blocks_the_event_loop_is_ended_with_its_worker(processes: Start, rig: Rig) -> None:
    worker = await ready(processes("tests.e2e.hostile_worker", HOSTILE="block", **SHORT))
    run_id = await ping(rig)
    assert await ended(worker, LEASE_S + 5) == 75
    assert worker.events("event_loop_stuck")
    assert (await rig.run(run_id)).state == "running"  # until the sweeper finds the lease expired


@pytest.mark.parametrize("kind", ["deaf", "thread"])
async def test_a_handler_that_never_ends_does_not_keep_its_worker_alive(
    processes: Start, rig: Rig, kind: str
) -> None:
    worker = await ready(processes("tests.e2e.hostile_worker", HOSTILE=kind, WORKER_GRACE_S="0"))
    run_id = await ping(rig)
    await rig.in_state(run_id, "running")
    worker.send(signal.SIGTERM)
    assert await ended(worker, 15) == 0
    row = await rig.run(run_id)
    assert (row.state, row.attempt, row.max_attempts) == ("pending", 1, 11)


def test_a_schema_that_is_behind_is_one_line_and_status_2(processes: Start, empty_database_url: str) -> None:
    worker = processes("worker_svc", DATABASE_URL=empty_database_url)
    assert worker.end() == 2
    last = worker.output.splitlines()[-1]
    assert last.startswith("worker: ")
    assert "cuebx migrate" in last
    assert "Traceback" not in worker.output


def test_a_worker_that_waits_for_its_database_says_so_and_ends_on_a_signal(processes: Start) -> None:
    worker = processes("worker_svc", DATABASE_URL="postgresql://cuebx:hunter2@127.0.0.1:1/cuebx")
    wait_until(lambda: worker.readiness()[0] == 503, what="a worker that is not ready")
    assert worker.wait_for("not_ready")["check"] == "database"
    assert worker.stop(5) == 0
    assert "hunter2" not in worker.output


async def test_no_secret_and_no_address_is_ever_logged(processes: Start, rig: Rig, database_url: str) -> None:
    secrets = {
        "DATABASE_URL": database_url.replace("cuebx@", "cuebx:hunter2db@"),
        "REDIS_URL": rig.redis_url.replace("redis://", "redis://:hunter2redis@"),
        "BREVO_API_KEY": "xkeysib-hunter2brevo",
        "STRIPE_API_KEY": "sk_test_hunter2stripe",
        "LOG_LEVEL": "DEBUG",
    }
    worker = processes("worker_svc", **secrets)
    # Redis has no password, so that the one given is refused: an error that quotes its URL would show.
    worker.wait_for("not_ready", timeout=20)
    await rig.enqueue_raw("ping", '{"sleep_s": "anna@example.com sk_live_hunter2arg"}')
    worker.stop(10)
    working = await ready(processes("worker_svc", **{**secrets, "REDIS_URL": rig.redis_url}))
    await rig.in_state(await rig.enqueue_raw("ping", '{"sleep_s": "bob@example.com"}'), "dead")
    await asyncio.to_thread(working.stop, 10)
    for said in (worker.output, working.output):
        assert "hunter2" not in said
        assert "anna@" not in said
        assert "bob@" not in said


async def test_a_taken_metrics_port_is_only_a_warning(processes: Start, rig: Rig) -> None:
    first = await ready(processes("worker_svc"))
    port = first.url.rpartition(":")[2]
    second = processes("worker_svc", METRICS_PORT=port)
    await asyncio.to_thread(second.wait_for, "metrics_port_taken")
    first.kill()
    await rig.in_state(await ping(rig), "succeeded")
    assert await asyncio.to_thread(second.stop) == 0


def test_no_connection_outlives_a_worker(processes: Start, database_url: str) -> None:
    worker = processes("worker_svc").wait_ready()
    assert worker.stop() == 0
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:

        def gone() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'cuebx-%'")
            (count,) = cursor.fetchone() or (None,)
            connection.rollback()
            return count == 0

        wait_until(gone, 5, "the end of its connections")
    assert not os.path.exists(f"/proc/{worker.pid}")
