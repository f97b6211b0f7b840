"""A PostgreSQL that is frozen: it takes connections and answers nothing, as behind a hung proxy or disk."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from local_stack.postgres import EmbeddedPostgres
from shared.db.migrate import upgrade
from tests.e2e.processes import Process
from tests.wait import wait_until

Start = Callable[..., Process]


@pytest.fixture
def server(private_postgres: Callable[..., EmbeddedPostgres]) -> EmbeddedPostgres:
    server = private_postgres()
    upgrade(server.url)
    return server


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    pids = [server.pid]
    try:
        os.kill(server.pid, signal.SIGSTOP)  # from here on it has no more children
        pids += _children(server.pid)
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            _send(pid, signal.SIGCONT)


def _send(pid: int, signum: signal.Signals) -> None:
    """A child that was just leaving is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def _children(parent: int) -> list[int]:
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rpartition(")")[2].split()[1] == str(parent)
    ]


def execute(server: EmbeddedPostgres, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(server.url, connect_timeout=5)) as connection, connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def test_a_worker_leaves_in_time_while_postgres_is_frozen(processes: Start, server: EmbeddedPostgres) -> None:
    worker = processes("worker_svc", DATABASE_URL=server.url, WORKER_GRACE_S="2").wait_ready()
    processes("scheduler_svc", DATABASE_URL=server.url).wait_ready()
    execute(
        server, "INSERT INTO job_runs (job, queue, args) VALUES ('ping', 'maintenance', '{\"sleep_s\": 2}')"
    )
    wait_until(lambda: execute(server, "SELECT id FROM job_runs WHERE state = 'running'"), 10, "claimed")
    with frozen(server):
        began = time.monotonic()
        assert worker.stop(60) == 0
        assert time.monotonic() - began < 2 + 10 + 1  # the interpreter's own end


def test_a_scheduler_leaves_in_time_while_postgres_is_frozen(
    processes: Start, server: EmbeddedPostgres
) -> None:
    leader = processes("scheduler_svc", DATABASE_URL=server.url).wait_ready()
    leader.wait_for("term_began")
    with frozen(server):
        wait_until(lambda: leader.readiness()[0] != 200, 20, "not ready")
        began = time.monotonic()
        assert leader.stop(60) == 0
        assert time.monotonic() - began < 10


def test_a_leader_that_cannot_reach_postgres_steps_down_and_goes_on_when_it_can(
    processes: Start, server: EmbeddedPostgres
) -> None:
    leader = processes("scheduler_svc", DATABASE_URL=server.url, LEADER_TTL_S="1").wait_ready()
    leader.wait_for("term_began")
    with frozen(server):
        assert leader.wait_for("term_ended", timeout=40)["reason"] == "postgres_silent"
    leader.wait_for("term_began", 2, timeout=20)
    execute(
        server,
        "INSERT INTO job_runs (job, queue) VALUES ('ping', 'maintenance')",
    )
    wait_until(lambda: execute(server, "SELECT id FROM job_runs WHERE state = 'queued'"), 10, "relayed")
