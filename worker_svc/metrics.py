"""What a worker counts."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from prometheus_client import Counter, Gauge, Histogram


class Durations(Histogram):
    """A histogram that counts a batch for little more than one observation."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        counts = [0] * len(self._upper_bounds)
        for amount in amounts:
            counts[bisect_left(self._upper_bounds, amount)] += 1
        self._sum.inc(sum(amounts))
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


RUNS = Counter(
    "cuebx_runs_ended_total", "Attempts that ended, by job and what became of the run", ["job", "state"]
)
DURATION = Durations(
    "cuebx_run_seconds",
    "Seconds from claim to recorded outcome",
    ["job"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
PICKUP = Durations(
    "cuebx_pickup_seconds",
    "Seconds from enqueue to claim of first attempts that were due at once",
    ["queue"],
    buckets=(0.002, 0.005, 0.01, 0.05, 0.25, 1, 5, 30, 300),
)
ACTIVE = Gauge("cuebx_runs_active", "Runs this worker is working on", ["queue"])


def ended(job: str, state: str, seconds: Sequence[float]) -> None:
    """Attempts have ended; what became of their runs, and how long each took."""
    runs, durations = _children(job, state)
    runs.inc(len(seconds))
    durations.observe_all(seconds)


@cache
def _children(job: str, state: str) -> tuple[Counter, Durations]:
    """`labels` checks and joins its arguments under a lock each time: longer than counting takes."""
    return RUNS.labels(job, state), DURATION.labels(job)
