"""T from outside: how soon after a fault work flows again."""

import time
from datetime import datetime

from tests.chaos.rig.cluster import Cluster
from tests.wait import wait_until

#: The promise is 5 s on a machine that is not overloaded, and `make bounds` measures that. Twice as long here, where three rows
#: run on two cores: all of their processes start and catch up at once. Two at a time took 2.7 s at the most.
RECOVERY_S = 10.0


def every_second(cluster: Cluster) -> str:
    """Two schedules: one whose missed fires coalesce, and one that makes up for each of them, one after the other. The id of
    the first: it shows how soon somebody fires again."""
    cluster.work.ping_every(1, "series", catch_up=True)
    return cluster.work.ping_every(1, "tick")


def recovers(cluster: Cluster, tick: str, within_s: float = RECOVERY_S) -> None:
    """Call it the moment the fault is over. What was there is done within `within_s`, and `tick` fires and runs anew."""
    now, began = cluster.work.now(), time.monotonic()
    # Waits longer than it accepts: a failure then says how long it took.
    wait_until(lambda: unfinished(cluster, now) == 0, within_s + 20, "the work that was there")
    wait_until(lambda: cluster.work.fired_since(tick, now), within_s + 20, "a fire after the fault")
    took = time.monotonic() - began
    assert took < within_s, f"it took {took:.1f} s"


def unfinished(cluster: Cluster, before: datetime) -> int:
    """Runs that were enqueued and due before, and have not ended. Fires that run one after the other take their time."""
    sql = (
        "SELECT count(*) AS n FROM job_runs WHERE enqueued_at < :before AND run_at < :before"
        " AND state IN ('pending', 'queued', 'running') AND overlap <> 'queue'"
    )
    count: int = cluster.work.rows(sql, before=before)[0].n
    return count


def works(cluster: Cluster, within_s: float = 20.0) -> None:
    """Returns when a run has succeeded: the cluster is warm."""
    sql = "SELECT FROM job_runs WHERE state = 'succeeded' LIMIT 1"
    wait_until(lambda: cluster.work.rows(sql), within_s, "a run that succeeded")
