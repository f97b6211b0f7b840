"""A scheduler stays up while a server is away, and ends with one line where it cannot start."""

import signal
import socket
from collections.abc import Callable
from contextlib import closing

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.db.engine import sync_engine
from shared.db.migrate import upgrade
from tests.e2e.scheduler.ticking import EVERY_S, Start, every_fire_has_one_run, runs
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


def test_processes_stay_up_when_redis_goes_away_and_go_on_when_it_is_back(
    start: Start, books: Books, ticking: str, private_valkey: Callable[..., EmbeddedValkey]
) -> None:
    server = private_valkey()
    leader = start(REDIS_URL=server.url)
    wait_until(leader.ready, timeout=60)
    wait_until(lambda: runs(books) > 2)
    server.kill()
    wait_until(lambda: leader.readiness()[0] == 503)
    server.start()
    wait_until(leader.ready, timeout=60)
    before = runs(books)
    wait_until(lambda: runs(books) > before)
    every_fire_has_one_run(books)


def test_processes_stay_up_when_postgresql_restarts_and_catch_up(
    start: Start, private_postgres: Callable[..., EmbeddedPostgres]
) -> None:
    server = private_postgres()
    upgrade(server.url)
    engine = sync_engine(server.url, application="test", bound_s=10)
    try:
        books = Books(engine)
        books.add("tick", trigger={"type": "interval", "every_s": EVERY_S}, overlap="allow")
        leader = start(DATABASE_URL=server.url)
        wait_until(leader.ready, timeout=60)
        wait_until(lambda: runs(books) > 2)
        server.kill()
        engine.dispose()
        wait_until(lambda: leader.readiness()[0] == 503)
        server.start()
        wait_until(leader.ready, timeout=60)
        before = runs(books)
        wait_until(lambda: runs(books) > before)
        every_fire_has_one_run(books)
    finally:
        engine.dispose()


def test_without_postgresql_at_the_start_it_waits_and_says_so(start: Start) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = unused.getsockname()[1]
        process = start(DATABASE_URL=f"postgresql://u:p@127.0.0.1:{port}/d")
        process.wait_for("postgres_awaited")
        status, checks = process.readiness()
    assert status == 503
    assert "refused" in checks["postgres"].lower()
    process.process.send_signal(signal.SIGTERM)
    assert process.end(timeout=5) == 0


def test_an_older_schema_is_one_line_and_status_2(start: Start, empty_database_url: str) -> None:
    process = start(DATABASE_URL=empty_database_url)
    assert process.end(timeout=60) == 2
    last = process.lines[-1]
    assert last.startswith("scheduler: ")
    assert "run cuebx migrate" in last


def test_a_malformed_setting_is_one_line_and_status_2(start: Start) -> None:
    process = start(CLEANUP_CRON="61 * * * *")
    assert process.end(timeout=60) == 2
    assert process.lines[-1].startswith("scheduler: CLEANUP_CRON: ")
