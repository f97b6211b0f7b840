"""A worker that is killed with work in its hands, and an idle one that is told to stop."""

import signal
import time
from collections.abc import Mapping
from random import Random

from shared.settings import WorkerSettings
from tests.chaos.bounds.cluster import PATIENCE_S, Cluster
from tests.chaos.bounds.measure import Bound, Measure, pause
from tests.wait import wait_until

RUN_LEASE_S = float(WorkerSettings.model_fields["run_lease_s"].default)


def killed(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
    """The kill falls anywhere between two heartbeats."""
    run_id = cluster.enqueue(sleep_s=600)
    running = "SELECT worker FROM job_runs WHERE id = :id AND state = 'running' AND attempt = :attempt"
    [[name]] = wait_until(lambda: cluster.rows(running, id=run_id, attempt=1), PATIENCE_S, "the run, claimed")
    pause(rand.uniform(0, RUN_LEASE_S / 3))
    killed_at = time.monotonic()
    cluster.worker(name).kill()
    [[other]] = wait_until(
        lambda: cluster.rows(running, id=run_id, attempt=2), PATIENCE_S, "the run, elsewhere"
    )
    took_s = time.monotonic() - killed_at
    assert other != name
    cluster.rows("UPDATE job_runs SET cancel_requested = true WHERE id = :id", id=run_id)
    return {"worker_killed": took_s}


def idle_stopped(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
    """The kernel's word for its end: the interpreter's own exit is part of it."""
    worker = cluster.start("worker_svc").wait_ready(PATIENCE_S)
    pause(rand.uniform(0.5, 3.0))
    signalled_at = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.end(PATIENCE_S) == 0
    return {"worker_idle_stopped": time.monotonic() - signalled_at}


MEASURES = (
    Measure(
        "worker_killed",
        {"worker_killed": Bound("worker killed with -9 → its run is running elsewhere", RUN_LEASE_S + 2)},
        killed,
    ),
    Measure(
        "worker_idle",
        {"worker_idle_stopped": Bound("idle worker gets SIGTERM → its process is gone", 1.0)},
        idle_stopped,
    ),
)
