"""A leader that is killed, and one that is told to stop."""

import signal
import time
from collections.abc import Mapping
from random import Random

from shared.settings import SchedulerSettings
from tests.chaos.bounds.cluster import FIRE_AFTER, PATIENCE_S, Cluster
from tests.chaos.bounds.measure import Bound, Measure, pause
from tests.wait import wait_until

LEADER_TTL_S = float(SchedulerSettings.model_fields["leader_ttl_s"].default)
_NEXT_TERM = (
    "SELECT extract(epoch FROM started_at) FROM leader_terms WHERE term > :term ORDER BY term LIMIT 1"
)
_FIRED_BY = """
SELECT extract(epoch FROM finished_at) FROM job_runs
WHERE schedule_id = 'tick' AND enqueued_at >= to_timestamp(:began) AND finished_at IS NOT NULL ORDER BY finished_at LIMIT 1
"""


def killed(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
    with cluster.ticking("1s"):
        pause(rand.uniform(0, 1.5))
        leader = cluster.leader()
        killed_at = time.time()
        leader.kill()
        return {
            "leader_killed": cluster.value(FIRE_AFTER, "a fire after the kill", since=killed_at) - killed_at
        }


def stopped(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
    """Something is always due: every 0.1 s."""
    with cluster.ticking("100ms"):
        pause(rand.uniform(0, 1.0))
        leader = cluster.leader()
        [[term]] = cluster.rows("SELECT max(term) FROM leader_terms")
        signalled_at = time.time()
        leader.send(signal.SIGTERM)
        began = cluster.value(_NEXT_TERM, "the next term", term=term)
        fired = cluster.value(_FIRED_BY, "a fire of the next leader", began=began)
        assert leader.end(PATIENCE_S) == 0
        return {"leader_stopped_term": began - signalled_at, "leader_stopped_fire": fired - signalled_at}


def idle_stopped(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
    """The leader and the standby in turn."""
    leader = cluster.leader()
    [standby] = [each for each in cluster.schedulers if each is not leader]
    process = leader if number % 2 else standby
    wait_until(lambda: process.status is None, what="a scheduler that runs")
    pause(rand.uniform(0, 2.0))
    signalled_at = time.monotonic()
    process.send(signal.SIGTERM)
    assert process.end(PATIENCE_S) == 0
    return {"scheduler_idle_stopped": time.monotonic() - signalled_at}


MEASURES = (
    Measure(
        "leader_killed",
        {"leader_killed": Bound("leader killed with -9 → the next fire has run", LEADER_TTL_S + 1)},
        killed,
    ),
    Measure(
        "leader_stopped",
        {
            "leader_stopped_term": Bound("leader gets SIGTERM → the next leader's term begins", 0.5),
            "leader_stopped_fire": Bound("leader gets SIGTERM → a fire of the next leader has run", 0.5),
        },
        stopped,
    ),
    Measure(
        "scheduler_idle",
        {"scheduler_idle_stopped": Bound("idle scheduler gets SIGTERM → its process is gone", 5.0)},
        idle_stopped,
    ),
)
