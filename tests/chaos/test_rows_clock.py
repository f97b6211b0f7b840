"""Row 6: the wall clock of one host jumps, and nothing that counts notices."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import UUID

import httpx
import pytest

from shared import jobs
from shared.core.jobspec import NoArgs
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
    """With schedules that fire every second, and nothing else that does. A lock that lives longer than a busy machine
    stands still: no term may end here."""
    cluster = make_cluster(env={**SECLUDED, "LEADER_TTL_S": "6", "STRIPE_RATE_PER_S": "10"})
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
    hour forward and two back while they run, and when the leader hands over to one whose clock is two hours from its own,
    then fires, leases and enqueued runs go by PostgreSQL's clock."""
    leader = start("scheduler", "leader")
    leader.wait_for("term_began")
    standby = start("scheduler", "standby").wait_ready()
    worker, api = start("worker", "worker").wait_ready(), start("api", "api").wait_ready()
    for member in (leader, worker, api):
        for offset_s in (HOUR_S, -HOUR_S):
            refund_ids = refunds_under_way(cluster) if member is worker else []
            clocks[member.name].put(offset_s)
            accepted = api.post("/v1/runs", {"job": "ping", "args": {}, "run_at": soon(cluster)}).json()
            wait_until(partial(is_off, member, offset_s), 10, f"{member.name} is {offset_s} s off")
            wait_fires_again(cluster)
            cluster.work.in_state(accepted["id"], "succeeded")
            for refund_id in refund_ids:
                cluster.work.refund_in(refund_id, "succeeded")
            assert not early(cluster)
    assert not leader.events("term_ended")
    clocks["standby"].put(HOUR_S)
    leader.stop()
    standby.wait_for("term_began")
    judge(cluster)
    assert not early(cluster)
    assert not failed_attempts(cluster)


def early(cluster: Cluster) -> list[UUID]:
    """Fires and pings before their time."""
    sql = "SELECT id FROM job_runs WHERE due_at > enqueued_at OR (job = 'ping' AND started_at < run_at)"
    return [row.id for row in cluster.work.rows(sql)]


def failed_attempts(cluster: Cluster) -> list[UUID]:
    """Runs that went back at the price of an attempt. Nobody refuses anything here: only a clock can be to blame."""
    sql = (
        "SELECT run_id FROM auditor.run_steps"
        " WHERE state_was = 'running' AND state = 'pending' AND max_attempts = max_attempts_was"
    )
    return [row.run_id for row in cluster.work.rows(sql)]


def is_off(member: Member, offset_s: int) -> bool:
    """Whether it says so itself: in its last line, the API in its answers."""
    if member.kind == "api":
        told = parsedate_to_datetime(httpx.get(f"{member.url}/healthz", trust_env=False).headers["date"])
    else:
        told = datetime.fromisoformat(member.events()[-1]["timestamp"])
    return abs(told - datetime.now(UTC) - timedelta(seconds=offset_s)) < timedelta(minutes=5)


def refunds_under_way(cluster: Cluster) -> list[UUID]:
    """More than have their turn at Stripe within a second; some of them wait for it now."""
    refund_ids = cluster.work.refunds(8)
    cluster.work.enqueue(jobs.PROCESS_PENDING_REFUNDS, [NoArgs()])
    sql = "SELECT FROM job_runs WHERE job = 'process_refund' AND state = 'running' LIMIT 1"
    wait_until(lambda: cluster.work.rows(sql), 10, "refunds under way")
    return refund_ids


def soon(cluster: Cluster) -> str:
    at: datetime = cluster.work.now() + timedelta(seconds=1)
    return at.isoformat()
