"""Schedulers as processes: leadership, fail-over, outages, and how they end."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
from sqlalchemy import Engine

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from scheduler_svc.bootstrap import embedded_scheduler
from scheduler_svc.notices import schedules_changed
from scheduler_svc.schedules import Schedules
from shared.core.schedule import ScheduleSpec, every
from shared.db.engine import sync_engine
from shared.db.migrate import upgrade
from shared.queue import keys
from shared.settings import SchedulerSettings
from tests.e2e.scheduler_process import SchedulerProcess
from tests.integration.scheduler.books import Books
from tests.wait import wait_until, wait_until_async

TTL_S = 1.5
EVERY_S = 0.25
Start = Callable[..., SchedulerProcess]


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    started: list[SchedulerProcess] = []

    def begin(**environment: str) -> SchedulerProcess:
        given = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LEADER_TTL_S": str(TTL_S),
            **environment,
        }
        process = SchedulerProcess(given.pop("DATABASE_URL"), given.pop("REDIS_URL"), **given)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(database_url, application="test", bound_s=10)
    yield engine
    engine.dispose()


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


@pytest.fixture
def ticking(books: Books) -> str:
    """A schedule that fires four times a second."""
    books.add("tick", trigger={"type": "interval", "every_s": EVERY_S}, overlap="allow")
    return "tick"


def _pair(start: Start) -> tuple[SchedulerProcess, SchedulerProcess]:
    leader = start()
    leader.wait_for("term_began")
    standby = start()
    wait_until(standby.ready, timeout=60)
    return leader, standby


def _runs(books: Books) -> int:
    return len(books.runs("tick"))


def _every_fire_has_one_run(books: Books) -> None:
    """In one snapshot: a leader may be firing meanwhile."""
    [seen] = books.run(
        "SELECT max(s.next_run_time) AS upcoming, count(*) AS runs, count(DISTINCT r.due_at) AS due_ats,"
        " sum(1 + r.coalesced) AS fires, extract(epoch FROM min(r.due_at))::float8 AS earliest,"
        " (array_agg(r.coalesced ORDER BY r.due_at))[1] AS before"
        " FROM schedules s JOIN job_runs r ON r.schedule_id = s.id WHERE s.id = 'tick'"
    )
    assert seen.due_ats == seen.runs
    assert seen.fires == round((seen.upcoming - seen.earliest) / EVERY_S) + seen.before


def test_after_kill_9_of_the_leader_the_next_fire_comes_within_ttl_and_a_second(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = _pair(start)
    wait_until(lambda: _runs(books) > 2)
    leader.kill()
    killed_at, before = time.monotonic(), _runs(books)
    wait_until(lambda: _runs(books) > before)
    assert time.monotonic() - killed_at < TTL_S + 1
    assert standby.wait_for("term_began")["term"] == 2
    _every_fire_has_one_run(books)


def test_sigterm_hands_leadership_over_at_once_and_ends_the_process(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = _pair(start)
    stopped_at = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    wait_until(lambda: books.run("SELECT FROM leader_terms WHERE term = 2"))
    assert time.monotonic() - stopped_at < 0.5
    assert leader.end(timeout=5) == 0
    standby.wait_for("term_began")
    [first] = books.run("SELECT * FROM leader_terms WHERE term = 1")
    assert (first.end_reason, first.ended_at is not None) == ("shutdown", True)


def test_sigint_ends_a_standby_too(start: Start) -> None:
    leader, standby = _pair(start)
    standby.process.send_signal(signal.SIGINT)
    assert standby.end(timeout=5) == 0
    assert leader.process.poll() is None


def test_a_leader_stopped_beyond_its_ttl_and_continued_fires_nothing_twice(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = _pair(start)
    wait_until(lambda: _runs(books) > 2)
    leader.process.send_signal(signal.SIGSTOP)
    standby.wait_for("term_began")
    before = _runs(books)
    wait_until(lambda: _runs(books) > before + 2)
    leader.process.send_signal(signal.SIGCONT)
    ended = leader.wait_for("term_ended")
    assert ended["reason"] in ("refused", "unanswered", "loop_stalled", "untrusted")
    before = _runs(books)
    wait_until(lambda: _runs(books) > before + 2)
    standby.process.send_signal(signal.SIGTERM)
    standby.end()
    _every_fire_has_one_run(books)


def test_a_lock_deleted_by_hand_makes_no_double_fires(
    start: Start, books: Books, ticking: str, redis_url: str
) -> None:
    _pair(start)
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(4):
            before = _runs(books)
            client.delete(keys.LEADER)
            wait_until(lambda before=before: _runs(books) > before + 1)  # type: ignore[misc]  # bound per round
    _every_fire_has_one_run(books)


def test_a_schedule_added_by_another_process_is_noticed_at_once(
    start: Start, engine: Engine, books: Books, redis_url: str
) -> None:
    start().wait_for("term_began")
    schedules = Schedules(engine, schedules_changed(redis_url))
    schedules.add(ScheduleSpec(id="tick", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: _runs(books) > 0)
    [first, *_] = books.runs("tick")
    assert (first.enqueued_at - first.due_at).total_seconds() < 0.3


def test_without_a_notice_it_is_noticed_within_about_a_second(
    start: Start, engine: Engine, books: Books
) -> None:
    start().wait_for("term_began")
    Schedules(engine).add(ScheduleSpec(id="tick", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: _runs(books) > 0)
    assert books.runs("tick")[0].coalesced <= 14


def test_a_reset_is_served_by_the_leader_without_a_new_term(
    start: Start, engine: Engine, redis_url: str
) -> None:
    start().wait_for("term_began")
    schedules = Schedules(engine, schedules_changed(redis_url))
    wait_until(lambda: len(schedules.list()) == 5)
    schedules.remove("daily_cleanup_job", actor="me")
    schedules.reset("daily_cleanup_job", actor="me")
    # The reset leaves no row: the leader writes it.
    wait_until(
        lambda: [each for each in schedules.list() if each.id == "daily_cleanup_job" and each.next_run_time],
        timeout=3,
    )


def test_processes_stay_up_when_redis_goes_away_and_go_on_when_it_is_back(
    start: Start, books: Books, ticking: str, private_valkey: Callable[..., EmbeddedValkey]
) -> None:
    server = private_valkey()
    leader = start(REDIS_URL=server.url)
    wait_until(leader.ready, timeout=60)
    wait_until(lambda: _runs(books) > 2)
    server.kill()
    wait_until(lambda: leader.readiness()[0] == 503)
    server.start()
    wait_until(leader.ready, timeout=60)
    before = _runs(books)
    wait_until(lambda: _runs(books) > before)
    _every_fire_has_one_run(books)


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
        wait_until(lambda: _runs(books) > 2)
        server.kill()
        engine.dispose()
        wait_until(lambda: leader.readiness()[0] == 503)
        server.start()
        wait_until(leader.ready, timeout=60)
        before = _runs(books)
        wait_until(lambda: _runs(books) > before)
        _every_fire_has_one_run(books)
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


async def test_another_process_can_stand_for_leader_and_hands_over_when_it_leaves(
    start: Start, books: Books, database_url: str, redis_url: str
) -> None:
    settings = SchedulerSettings(database_url=database_url, redis_url=redis_url, leader_ttl_s=TTL_S)
    async with embedded_scheduler(settings) as candidate:
        await wait_until_async(lambda: candidate.role == "leader")
        standby = start()
        # In a thread: a leader whose loop stands still for its whole TTL is none any more.
        await asyncio.to_thread(wait_until, standby.ready, 60, "ready")
        assert candidate.role == "leader"
        left_at = time.monotonic()
    await wait_until_async(lambda: books.run("SELECT FROM leader_terms WHERE term = 2"))
    assert time.monotonic() - left_at < 0.5
