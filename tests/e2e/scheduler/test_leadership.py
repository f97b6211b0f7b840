"""Schedulers as processes: who leads, when a leader dies, stops, is told to end, or loses its lock."""

import asyncio
import signal
import time

import redis

from scheduler_svc.bootstrap import embedded_scheduler
from shared.queue import keys
from shared.settings import SchedulerSettings
from tests.e2e.scheduler.ticking import TTL_S, Start, every_fire_has_one_run, pair, runs
from tests.integration.scheduler.books import Books
from tests.wait import wait_until, wait_until_async


def test_after_kill_9_of_the_leader_the_next_fire_comes_within_ttl_and_a_second(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = pair(start)
    wait_until(lambda: runs(books) > 2)
    leader.kill()
    killed_at, before = time.monotonic(), runs(books)
    wait_until(lambda: runs(books) > before)
    assert time.monotonic() - killed_at < TTL_S + 1
    assert standby.wait_for("term_began")["term"] == 2
    every_fire_has_one_run(books)


def test_sigterm_hands_leadership_over_at_once_and_ends_the_process(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = pair(start)
    stopped_at = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    wait_until(lambda: books.run("SELECT FROM leader_terms WHERE term = 2"))
    assert time.monotonic() - stopped_at < 0.5
    assert leader.end(timeout=5) == 0
    standby.wait_for("term_began")
    [first] = books.run("SELECT * FROM leader_terms WHERE term = 1")
    assert (first.end_reason, first.ended_at is not None) == ("shutdown", True)


def test_sigint_ends_a_standby_too(start: Start) -> None:
    leader, standby = pair(start)
    standby.process.send_signal(signal.SIGINT)
    assert standby.end(timeout=5) == 0
    assert leader.process.poll() is None


def test_a_leader_stopped_beyond_its_ttl_and_continued_fires_nothing_twice(
    start: Start, books: Books, ticking: str
) -> None:
    leader, standby = pair(start)
    wait_until(lambda: runs(books) > 2)
    leader.process.send_signal(signal.SIGSTOP)
    standby.wait_for("term_began")
    before = runs(books)
    wait_until(lambda: runs(books) > before + 2)
    leader.process.send_signal(signal.SIGCONT)
    ended = leader.wait_for("term_ended")
    assert ended["reason"] in ("refused", "unanswered", "loop_stalled", "untrusted")
    before = runs(books)
    wait_until(lambda: runs(books) > before + 2)
    standby.process.send_signal(signal.SIGTERM)
    standby.end()
    every_fire_has_one_run(books)


def test_a_lock_deleted_by_hand_makes_no_double_fires(
    start: Start, books: Books, ticking: str, redis_url: str
) -> None:
    pair(start)
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(4):
            before = runs(books)
            client.delete(keys.LEADER)
            wait_until(lambda before=before: runs(books) > before + 1)  # type: ignore[misc]  # bound per round
    every_fire_has_one_run(books)


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
