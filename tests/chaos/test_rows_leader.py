"""Rows 1, 2, 3: a leader killed between two steps of a fire."""

import signal
from uuid import UUID

import pytest
import redis

from shared.queue import keys
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.member import Member
from tests.chaos.succession import SECLUDED, due_now, every_second, judge, succession, wait_fired
from tests.wait import wait_until

MAINTENANCE = keys.queue("maintenance")


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """With schedules that fire every second, and nothing else that does."""
    cluster = make_cluster(env=SECLUDED)
    every_second(cluster)
    return cluster


def killed(leader: Member) -> None:
    assert leader.end() == -signal.SIGKILL


@pytest.mark.row(1)
def test_row_01_what_a_leader_killed_before_its_commit_did_not_fire_its_successor_fires_late(
    cluster: Cluster,
) -> None:
    cluster.start("worker")
    for leader, _ in succession(cluster, "fire.before_commit=kill@4", "fire.before_commit=kill@4"):
        killed(leader)
        lost = due_now(cluster)
        assert lost, "what it had written and not committed is undone"
        wait_fired(cluster, lost)
    judge(cluster)


@pytest.mark.row(2)
def test_row_02_fires_committed_and_never_pushed_are_relayed_by_the_next_leader(cluster: Cluster) -> None:
    cluster.start("worker")
    left = []
    for leader, _ in succession(cluster, "fire.committed=kill@4", "relay.before_push=kill@3"):
        killed(leader)
        left.append(pending_without_message(cluster))
    assert all(left), "each leaves committed runs that Redis knows nothing of"
    judge(cluster)
    for run_id in {run_id for run_ids in left for run_id in run_ids}:
        row = cluster.work.in_state(run_id, "succeeded")
        assert row.attempt == 1


@pytest.mark.row(3)
def test_row_03_a_message_pushed_twice_runs_once(cluster: Cluster) -> None:
    """Given leaders that die between push and mark, when their successors push the same again before any worker is there,
    then each run has one attempt."""
    pushed = set()
    for leader, successor in succession(cluster, "relay.pushed=kill@2", "relay.pushed=kill@2"):
        killed(leader)
        twice = pending(cluster) & messages(cluster)
        assert twice, "it leaves runs that are in Redis and do not say so"
        pushed |= twice
        successor.wait_for("failpoint_struck" if successor.environment["CUEBX_FAILPOINTS"] else "term_began")
    wait_until(lambda: not pending(cluster) & pushed, 10, "all of them marked by a later leader")
    # One run at a time: each message is a claim of its own.
    workers = [cluster.start("worker", env={"WORKER_MAX_JOBS": "1"}) for _ in range(2)]
    judge(cluster)
    begun = [run_id for worker in workers for run_id in worker.ended_runs()]
    assert len(begun) == len(set(begun))
    assert {str(run_id) for run_id in pushed} <= set(begun)
    assert not cluster.work.rows("SELECT FROM job_runs WHERE attempt > 1")


@pytest.mark.row(3)
def test_row_03_a_run_claimed_before_its_mark_is_not_dragged_back(cluster: Cluster) -> None:
    """Given a leader that is stopped between push and mark while a worker has the runs, when it goes on and marks them,
    then they stay what they have become."""
    worker = cluster.start("worker").wait_ready()
    leader = cluster.start("scheduler", failpoints="relay.pushed=stop@3")
    leader.wait_for("failpoint_struck")
    wait_until(lambda: claimed_unmarked(cluster), 10, "the worker has what was pushed")
    leader.send(signal.SIGCONT)
    ended = len(worker.ended_runs())
    wait_until(lambda: len(worker.ended_runs()) > ended + 3, 15, "runs go on")
    judge(cluster)
    assert not cluster.work.rows(
        "SELECT FROM auditor.run_steps WHERE state = 'queued' AND state_was <> 'pending'"
    )
    assert not cluster.work.rows("SELECT FROM job_runs WHERE attempt > 1")


def claimed_unmarked(cluster: Cluster) -> bool:
    sql = "SELECT FROM auditor.run_steps WHERE state_was = 'pending' AND state = 'running' LIMIT 1"
    return bool(cluster.work.rows(sql))


def pending(cluster: Cluster) -> set[UUID]:
    rows = cluster.work.rows("SELECT id FROM job_runs WHERE state = 'pending' AND run_at <= now()")
    return {row.id for row in rows}


def messages(cluster: Cluster) -> set[UUID]:
    with redis.Redis.from_url(cluster.redis_url, decode_responses=True) as client:
        return {UUID(member.partition(":")[0]) for member in client.zrange(MAINTENANCE, 0, -1)}


def pending_without_message(cluster: Cluster) -> set[UUID]:
    return pending(cluster) - messages(cluster)
