"""Row 7: two leaders at once."""

from collections.abc import Callable
from functools import partial

import pytest
import redis

from shared.queue import keys
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.member import Member
from tests.chaos.succession import SECLUDED, TTL_S, every_second, judge, wait_fires_again
from tests.wait import wait_until

SOMEBODY = "somebody else's token"
Edit = Callable[["redis.Redis"], object]


@pytest.mark.row(7)
def test_row_07_a_lock_deleted_or_taken_by_hand_costs_no_fire_and_doubles_none(
    make_cluster: MakeCluster,
) -> None:
    """Given two schedulers, when the lock is deleted, set to a token that nobody has, and set so without an expiry, then
    each time the one that led steps down, somebody leads again, and every fire has one run."""
    cluster = make_cluster(env=SECLUDED)
    every_second(cluster)
    cluster.start("worker")
    schedulers = [cluster.start("scheduler").wait_ready() for _ in range(2)]
    edits: list[Edit] = [
        lambda lock: lock.delete(keys.LEADER),
        lambda lock: lock.set(keys.LEADER, SOMEBODY, px=int(TTL_S * 1000)),
        lambda lock: lock.set(keys.LEADER, SOMEBODY),
    ]
    with redis.Redis.from_url(cluster.redis_url, decode_responses=True) as lock:
        for edit in edits:
            wait_fires_again(cluster)
            ended, began = told(schedulers, "term_ended"), told(schedulers, "term_began")
            edit(lock)
            wait_until(partial(more_than, ended, schedulers, "term_ended"), 10, "it steps down")
            wait_until(partial(more_than, began, schedulers, "term_began"), 15, "somebody leads")
    judge(cluster)
    refused = [each["reason"] for member in schedulers for each in member.events("term_ended")]
    assert refused.count("refused") >= len(edits)


@pytest.mark.row(7)
def test_row_07_two_that_lead_side_by_side_for_seconds_fire_everything_once(
    make_cluster: MakeCluster, redis_url: str
) -> None:
    """Given a Redis split in two, each half with a scheduler that holds the lock there, and workers on one, when the other
    half's scheduler is gone, then what it pushed into its half runs too."""
    cluster = make_cluster("valkey", env=SECLUDED)
    every_second(cluster)
    cluster.start("worker")
    here = cluster.start("scheduler")
    there = cluster.start("scheduler", env={"REDIS_URL": redis_url})
    for scheduler in (here, there):
        scheduler.wait_for("schedule_fired", times=5, timeout=30)
    assert not here.events("term_ended") + there.events("term_ended")
    with redis.Redis.from_url(redis_url) as half:
        assert half.zcard(keys.queue("maintenance")), "messages that no worker sees"
    there.kill()
    judge(cluster)


def told(schedulers: list[Member], event: str) -> int:
    return sum(len(each.events(event)) for each in schedulers)


def more_than(before: int, schedulers: list[Member], event: str) -> bool:
    return told(schedulers, event) > before
