"""Whether what was sampled is flat and bounded. Pure: samples in, verdict out."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tests.chaos.soak.sampling import Sample

WORKER_RSS_MIB = 150.0
#: At some 200,000 runs an hour, 10 MiB are what fifty bytes for each run would leak.
SLOPE_MIB_H = 10.0
#: What the allocator may keep more in the last quarter of the time after the warm-up than in its first.
STEP_MIB = 2.0
#: Shorter than this after the warm-up, a slope says nothing.
JUDGED_S = 600.0
#: Connections that a process may open to PostgreSQL: its pools with their overflow.
POSTGRES_LIMITS: Mapping[str, float] = {
    "scheduler": (3 + 2) + (1 + 2) + (5 + 5),  # the firing path and its reads; relay, sweeper, election
    "worker": (8 + 8) + (1 + 1),  # handlers, claims and outcomes; heartbeat
    "api": 10 + 10,
}
#: And to Redis: pools of at most 20.
REDIS_LIMITS: Mapping[str, float] = {
    "scheduler": 20 + 1,  # and the leader's lock
    "worker": 20 + 3 * 20,  # and one for each queue
    "api": 20,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one process. `faults` in words; none: it is flat and bounded."""

    name: str
    rss_warm_mib: float
    rss_end_mib: float
    rss_max_mib: float
    pss_end_mib: float
    slope_mib_h: float | None
    descriptors_max: int
    threads_max: int
    postgres_max: int
    redis_max: int
    faults: Sequence[str]


def warm_up_s(seconds: float) -> float:
    """A third of the time, ten minutes at most."""
    return min(600.0, seconds / 3)


def judge(name: str, samples: Sequence[Sample], seconds: float) -> Verdict:
    """`samples` of one process, in order, over `seconds`."""
    warm = [each for each in samples if each.at_s >= warm_up_s(seconds)] or list(samples)
    quarter = max(1, len(warm) // 4)
    before, after = _median(warm[:quarter], "rss_mib"), _median(warm[-quarter:], "rss_mib")
    judged = seconds - warm_up_s(seconds) >= JUDGED_S
    slope = theil_sen([(each.at_s / 3600, each.rss_mib) for each in warm]) if judged else None
    faults = _out_of_bounds(name.partition("-")[0], samples)
    if slope is not None and slope > SLOPE_MIB_H and after - before > STEP_MIB:
        faults.append(f"grows by {slope:.1f} MiB an hour")
    if judged:
        faults += _ever_more(warm)
    return Verdict(
        name=name,
        rss_warm_mib=before,
        rss_end_mib=after,
        rss_max_mib=_most(samples, "rss_mib"),
        pss_end_mib=_median(warm[-quarter:], "pss_mib"),
        slope_mib_h=slope,
        descriptors_max=int(_most(samples, "descriptors")),
        threads_max=int(_most(samples, "threads")),
        postgres_max=int(_most(samples, "postgres_connections")),
        redis_max=int(_most(samples, "redis_connections")),
        faults=faults,
    )


def _out_of_bounds(kind: str, samples: Sequence[Sample]) -> list[str]:
    limits = [
        ("postgres_connections", POSTGRES_LIMITS[kind]),
        ("redis_connections", REDIS_LIMITS[kind]),
    ]
    if kind == "worker":
        limits.append(("rss_mib", WORKER_RSS_MIB))
    return [
        f"{most:.0f} {of}, more than {limit:g}"
        for of, limit in limits
        if (most := _most(samples, of)) > limit
    ]


def _ever_more(warm: Sequence[Sample]) -> list[str]:
    """Counts that usually are higher in the last quarter than they ever were in the first half."""
    half, quarter = warm[: len(warm) // 2], warm[-len(warm) // 4 :]
    return [
        f"ever more {of}"
        for of in ("descriptors", "threads", "postgres_connections", "redis_connections")
        if _median(quarter, of) > _most(half, of)
    ]


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs: single spikes do not move it. 0 for fewer than two points."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 != x1]
    return statistics.median(slopes) if slopes else 0.0


def as_table(verdicts: Sequence[Verdict]) -> str:
    """Markdown."""
    lines = [
        "| process | resident after warm-up | at the end | at most | proportional | growth | descriptors"
        " | threads | to PostgreSQL (of) | to Redis (of) | flat and bounded |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for each in verdicts:
        kind = each.name.partition("-")[0]
        growth = "not judged" if each.slope_mib_h is None else f"{each.slope_mib_h:+.1f} MiB/h"
        memory = f"{each.rss_warm_mib:.0f} MiB | {each.rss_end_mib:.0f} MiB | {each.rss_max_mib:.0f} MiB"
        lines.append(
            f"| {each.name} | {memory} | {each.pss_end_mib:.0f} MiB | {growth} | {each.descriptors_max}"
            f" | {each.threads_max} | {each.postgres_max} ({POSTGRES_LIMITS[kind]})"
            f" | {each.redis_max} ({REDIS_LIMITS[kind]})"
            f" | {'**no**: ' + '; '.join(each.faults) if each.faults else 'yes'} |"
        )
    return "\n".join(lines)


def _most(samples: Sequence[Sample], of: str) -> float:
    return max(float(getattr(each, of)) for each in samples)


def _median(samples: Sequence[Sample], of: str) -> float:
    return statistics.median(float(getattr(each, of)) for each in samples)
