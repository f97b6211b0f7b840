"""What a worker counts."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

RUNS = Counter(
    "cuebx_runs_ended_total", "Attempts that ended, by job and what became of the run", ["job", "state"]
)
DURATION = Histogram(
    "cuebx_run_seconds",
    "Seconds from claim to recorded outcome",
    ["job"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
PICKUP = Histogram(
    "cuebx_pickup_seconds",
    "Seconds from enqueue to claim of first attempts that were due at once",
    ["queue"],
    buckets=(0.002, 0.005, 0.01, 0.05, 0.25, 1, 5, 30, 300),
)
ACTIVE = Gauge("cuebx_runs_active", "Runs this worker is working on", ["queue"])


def ended(job: str, state: str, seconds: float) -> None:
    """An attempt has ended; what became of its run, and how long it took."""
    runs, duration = _children(job, state)
    runs.inc()
    duration.observe(seconds)


@cache
def _children(job: str, state: str) -> tuple[Counter, Histogram]:
    """`labels` checks and joins its arguments under a lock each time: longer than counting takes."""
    return RUNS.labels(job, state), DURATION.labels(job)
