"""Row 6: the wall clock of one host jumps, and nothing that counts notices."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Literal

import httpx
import pytest

from tests.chaos.clock import WallClock
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.chaos.succession import SECLUDED, every_second, judge, wait_fires_again
from tests.wait import wait_until

HOUR_S = 3600
Start = Callable[[Literal["scheduler", "worker", "api"], str], Member]


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """With schedules that fire every second, and nothing else that does."""
    cluster = make_cluster(env=SECLUDED)
    every_second(cluster)
    return cluster


@pytest.fixture
def clocks() -> dict[str, WallClock]:
    """By the name of their process."""
    return {}


@pytest.fixture
def start(cluster: Cluster, clocks: dict[str, WallClock], tmp_path: Path) -> Iterator[Start]:
    """Starts a process with a clock of its own."""

    def start(kind: Literal["scheduler", "worker", "api"], name: str) -> Member:
        clocks[name] = WallClock(tmp_path / f"clock-{name}")
        return cluster.start(kind, name, env=clocks[name].environment)

    yield start
    for name in clocks:
        WallClock.clean(cluster.members[name].pid)


@pytest.mark.row(6)
def test_row_06_a_wall_clock_that_jumps_by_an_hour_fires_nothing_early_late_or_twice(
    cluster: Cluster, start: Start, clocks: dict[str, WallClock]
) -> None:
    """Given a leader, a standby, a worker and an API on hosts of their own, when the clocks of leader, worker and API jump an
    hour forward and two back while they run, and when the leader dies and its successor's clock is two hours from its own,
    then fires, leases and enqueued runs go by PostgreSQL's clock."""
    leader = start("scheduler", "leader")
    leader.wait_for("term_began")
    standby = start("scheduler", "standby").wait_ready()
    worker, api = start("worker", "worker").wait_ready(), start("api", "api").wait_ready()
    for member in (leader, worker, api):
        for offset_s in (HOUR_S, -HOUR_S):
            clocks[member.name].put(offset_s)
            accepted = api.post("/v1/runs", {"job": "ping", "args": {}, "run_at": soon(cluster)}).json()
            wait_until(partial(is_off, member, offset_s), 10, f"{member.name} is {offset_s} s off")
            wait_fires_again(cluster)
            cluster.work.in_state(accepted["id"], "succeeded")
    assert not leader.events("term_ended") + leader.events("lease_lost")
    clocks["standby"].put(HOUR_S)
    leader.kill()
    standby.wait_for("term_began")
    judge(cluster)
    assert not cluster.work.rows("SELECT FROM job_runs WHERE attempt > 1 OR losses > 0")
    assert not cluster.work.rows("SELECT FROM job_runs WHERE due_at > enqueued_at OR started_at < run_at")


def is_off(member: Member, offset_s: int) -> bool:
    """Whether it says so itself: in its last line, the API in its answers."""
    if member.kind == "api":
        told = parsedate_to_datetime(httpx.get(f"{member.url}/healthz", trust_env=False).headers["date"])
    else:
        told = datetime.fromisoformat(member.events()[-1]["timestamp"])
    return abs(told - datetime.now(UTC) - timedelta(seconds=offset_s)) < timedelta(minutes=5)


def soon(cluster: Cluster) -> str:
    at: datetime = cluster.work.now() + timedelta(seconds=1)
    return at.isoformat()
