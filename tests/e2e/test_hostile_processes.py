"""Recovery and hand-overs between real processes, by the clock."""

import time
from collections.abc import Callable
from itertools import pairwise
from uuid import UUID

import pytest
import redis as sync_redis

from shared.queue import keys
from tests.e2e.processes import Process
from tests.integration.scheduler.books import Books
from tests.wait import wait_until

Start = Callable[..., Process]


@pytest.mark.rule(19)
def test_fires_that_queue_up_run_in_order_one_right_after_the_other(processes: Start, books: Books) -> None:
    processes("scheduler_svc").wait_ready()
    processes("worker_svc").wait_ready()
    books.add("series", due_in_s=-19 * 60 - 1, catch_up=True)
    began = time.monotonic()
    wait_until(lambda: succeeded(books, "series") == 20, 20, "all 20 fires run")
    assert time.monotonic() - began < 6
    runs = sorted(books.runs("series"), key=lambda run: run.due_at)
    for earlier, later in pairwise(runs):
        assert earlier.finished_at <= later.started_at


def succeeded(books: Books, schedule_id: str) -> int:
    return len([run for run in books.runs(schedule_id) if run.state == "succeeded"])


def test_a_message_of_a_worker_that_died_before_its_claim_comes_back_within_seconds(
    processes: Start, books: Books, redis_url: str
) -> None:
    """Given the defaults, and a message that somebody took and never claims, then the run runs within about 5 s."""
    processes("scheduler_svc").wait_ready()
    run_id: UUID = books.add_run()
    wait_until(lambda: books.get(run_id).state == "queued", 10, "relayed")
    with sync_redis.Redis.from_url(redis_url) as client:
        [(member, _)] = client.zpopmin(keys.queue("maintenance"))
        seconds, micros = client.time()
        client.zadd(keys.taken("maintenance"), {member: seconds + micros / 1e6})
    processes("worker_svc").wait_ready()
    began = time.monotonic()  # a worker's own start is not what comes back
    wait_until(lambda: books.get(run_id).state == "succeeded", 10, "run by another")
    assert time.monotonic() - began < 6


def test_a_killed_workers_run_is_elsewhere_within_its_lease_and_two_seconds(
    processes: Start, books: Books
) -> None:
    """Given a lease that is longer than a few of the sweeper's rounds."""
    processes("scheduler_svc", RUN_LEASE_S="8").wait_ready()
    victim = processes("worker_svc", RUN_LEASE_S="8").wait_ready()
    run_id = books.add_run(args='{"sleep_s": 60}')
    wait_until(lambda: books.get(run_id).state == "running", 10, "claimed")
    processes("worker_svc", RUN_LEASE_S="8").wait_ready()
    killed_at = time.monotonic()
    victim.kill()
    wait_until(
        lambda: (books.get(run_id).state, books.get(run_id).attempt) == ("running", 2), 25, "run elsewhere"
    )
    assert time.monotonic() - killed_at < 8 + 2
