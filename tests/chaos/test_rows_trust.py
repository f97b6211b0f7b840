"""Rows 4, 5: a leader that stands still, and how long it may believe that it leads."""

import signal
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.chaos.succession import (
    SECLUDED,
    due_now,
    every_second,
    judge,
    succession,
    wait_fired,
    wait_fires_again,
    wait_stopped,
)
from tests.wait import wait_until

#: Longer than the lock lives and a standby needs to begin.
STALL_S = 5
#: So many take longer than that.
RENEWALS = 16
#: `reason` of a term that ended because the trust did.
UNTRUSTED = {"refused", "unanswered", "loop_stalled", "untrusted"}


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """With schedules that fire every second, and nothing else that does."""
    cluster = make_cluster(env=SECLUDED)
    every_second(cluster)
    return cluster


def wait_down(leader: Member) -> None:
    """Until it has given up what it believed to hold, and stands by."""
    wait_until(lambda: leader.events("term_ended") or leader.events("term_failed"), 15, "its term ends")
    assert {each["reason"] for each in leader.events("term_ended")} <= UNTRUSTED
    leader.wait_ready()


def told(leader: Member) -> list[datetime]:
    """The fires that it says it committed."""
    return [datetime.fromisoformat(each["due_at"]) for each in leader.events("schedule_fired")]


@pytest.mark.row(4)
@pytest.mark.parametrize(
    "failpoints",
    [
        ("fire.before_commit=stop@3", "relay.before_push=stop@2", "leader.acquired=stop"),
        ("fire.committed=stop@3", "relay.pushed=stop@2", "leader.renewing=stop@2"),
    ],
    ids=["before the step", "after it"],
)
def test_row_04_leaders_stopped_beyond_their_ttl_fire_nothing_when_they_go_on(
    cluster: Cluster, failpoints: tuple[str, ...]
) -> None:
    """Given leaders stopped one after the other, each at another point, then what they held locked is free for the next;
    and when all go on at once beside the one that leads by then, each steps down without firing anything."""
    cluster.start("worker")
    stopped: list[tuple[Member, datetime]] = []
    for leader, _ in succession(cluster, *failpoints):
        wait_stopped(leader)
        left = due_now(cluster)
        stopped.append((leader, min(left.values(), default=cluster.work.now()) - timedelta(milliseconds=1)))
    wait_fired(cluster, left)
    wait_fires_again(cluster)
    for leader, _ in stopped:
        leader.send(signal.SIGCONT)
    for leader, _ in stopped:
        wait_down(leader)
    judge(cluster)
    for leader, since in stopped:
        assert [due_at for due_at in told(leader) if due_at > since] == []
    assert cluster.leader() not in [leader for leader, _ in stopped]


@pytest.mark.row(5)
def test_row_05_a_leader_whose_event_loop_or_renewals_stall_is_replaced_while_they_do(
    make_cluster: MakeCluster,
) -> None:
    """Given a leader whose event loop stalls beyond the TTL, and then its successor, whose renewing thread does, then each
    time the other one leads before the stalled one has woken up, and when it has, it fires nothing."""
    cluster = make_cluster(env=SECLUDED)
    cluster.start("worker")
    one = cluster.start("scheduler", failpoints=f"relay.before_push=stall:{STALL_S}")
    one.wait_for("term_began")
    two = cluster.start("scheduler", failpoints=f"leader.renewing=stall:{STALL_S}@{RENEWALS}").wait_ready()
    every_second(cluster)
    replaced = [began(two)]
    wait_down(one)
    assert replaced[0] < at(one.wait_for("term_ended"))
    two.wait_for("failpoint_struck")
    replaced.append(began(one, times=2))
    wait_down(two)
    assert replaced[1] < at(two.wait_for("term_ended"))
    judge(cluster)
    assert [when for when in fired(one) if replaced[0] < when < replaced[1]] == []
    assert [when for when in fired(two) if when > replaced[1]] == []


def fired(scheduler: Member) -> list[datetime]:
    """When it committed fires."""
    return [at(event) for event in scheduler.events("schedule_fired")]


def at(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def began(scheduler: Member, times: int = 1) -> datetime:
    """When it became leader, so many times."""
    return at(scheduler.wait_for("term_began", times=times))


@pytest.mark.row(5)
def test_row_05_a_firing_thread_that_stalls_before_its_commit_keeps_no_fire_to_itself(
    cluster: Cluster,
) -> None:
    """The event loop is alive, and the leader leads on: its transaction is undone by PostgreSQL, and repeated."""
    cluster.start("worker")
    leader = cluster.start("scheduler", failpoints="fire.before_commit=stall:4@3")
    leader.wait_for("failpoint_struck")
    held = due_now(cluster)
    assert held
    wait_fired(cluster, held)
    judge(cluster)
    assert [each["reason"] for each in leader.events("term_ended")] == []
