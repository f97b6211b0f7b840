"""A schedule that fires every second: how late does its handler start, and does it drift?"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.due import ACTOR, handler_starts, opened
from benchmarks.figures import Result
from benchmarks.ours import Ours
from benchmarks.plots import distributions
from benchmarks.process import Process
from benchmarks.profiling import watching
from shared.core.schedule import IntervalTrigger, ScheduleSpec

QUESTION = "How long after its due time does a schedule's handler start?"
EVERY = timedelta(seconds=1)
P50_MS, P99_MS, DRIFT_MS = 8.0, 25.0, 2.0
#: The first fires find caches cold and statements unprepared.
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Fire:
    due_s: float
    late_ms: float


def run(bench: Bench) -> None:
    fires = bench.n(60, 4)
    bench.rounds = min(bench.rounds, 3)  # a minute each
    rounds: list[list[Fire]] = []
    with bench.servers(shared_preload_libraries="pg_stat_statements") as servers, bench.ours(servers) as ours:
        scheduler = ours.start("scheduler")
        worker = ours.start("worker")
        for number in range(bench.rounds):
            rounds.append(_minute(bench, ours, worker, f"every-second-{number}", fires))
            late = [fire.late_ms for fire in rounds[-1]]
            bench.say(f"round {number + 1}: p50 {statistics.median(late):.1f} ms, worst {max(late):.1f} ms")
        with watching(bench, ours, scheduler) as profile:
            _minute(bench, ours, worker, "watched", bench.n(20, 2), warm_up=0)
    p50 = bench.figure("p50", [_p([f.late_ms for f in each], 50) for each in rounds], "ms")
    p99 = bench.figure("p99", [_p([f.late_ms for f in each], 99) for each in rounds], "ms")
    drift = bench.figure(
        "drift over the minute", [drift_ms([f.late_ms for f in each]) for each in rounds], "ms"
    )
    bench.target("p50", p50.median, "at most", P50_MS, "ms")
    bench.target("p99", p99.median, "at most", P99_MS, "ms")
    bench.target("drift", abs(drift.median), "at most", DRIFT_MS, "ms")
    bench.result.details["late_ms"] = [[round(fire.late_ms, 2) for fire in each] for each in rounds]
    bench.result.details["profile"] = profile.as_json()
    bench.result.details["bound_by"] = (
        "Round trips, one after the other: the look at what is due, the fire's transaction (BEGIN, its time limit, the fire,"
        " COMMIT), the push, and the worker's claim. Two of the statements commit, and each commit waits for the disk."
        " A second apart, every step finds caches cold and cores halted, which doubles what it takes."
    )


def _minute(
    bench: Bench, ours: Ours, worker: Process, schedule: str, fires: int, *, warm_up: int = WARM_UP
) -> list[Fire]:
    """Lets a schedule of its own fire this often, and checks that every fire ran once, in its second."""
    trigger = IntervalTrigger(every_s=EVERY.total_seconds())
    with opened(ours) as schedules:
        schedules.add(ScheduleSpec(id=schedule, job="ping", trigger=trigger), actor=ACTOR)
        wanted = warm_up + fires
        deadline = time.monotonic() + wanted + 15
        while len(rows := _runs(ours, schedule)) < wanted and time.monotonic() < deadline:
            time.sleep(0.2)
        schedules.remove(schedule, actor=ACTOR)
    rows = rows[:wanted]
    began = handler_starts(worker)
    gaps = {after.due_at - before.due_at for before, after in pairwise(rows)}
    bench.audit("every second has its fire", "" if gaps == {EVERY} else f"gaps: {sorted(map(str, gaps))}")
    bench.audit("no fire stands for another", "" if not sum(row.coalesced for row in rows) else "coalesced")
    unrun = [str(row.id) for row in rows if str(row.id) not in began]
    bench.audit("every fire ran", f"not {unrun}" if unrun or len(rows) < wanted else "")
    return [
        Fire(row.due_at.timestamp(), (began[str(row.id)] - row.due_at) / timedelta(milliseconds=1))
        for row in rows[warm_up:]
        if str(row.id) in began
    ]


def _runs(ours: Ours, schedule: str) -> list[Any]:
    return ours.rows(
        "SELECT id, due_at, coalesced FROM job_runs WHERE schedule_id = :id AND state = 'succeeded' ORDER BY due_at",
        id=schedule,
    )


def _p(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def drift_ms(late_ms: Sequence[float]) -> float:
    """How much later fires became from the first to the last: by how much the earliest of the last third are later than those
    of the first, over the fires that lie between the two. What comes and goes with the machine's load is no drift; what adds
    up from fire to fire moves the earliest, too."""
    third = max(1, len(late_ms) // 3)
    first, last = (sorted(part) for part in (late_ms[:third], late_ms[-third:]))
    few = max(1, third // 4)
    moved = statistics.median(last[:few]) - statistics.median(first[:few])
    return moved * (len(late_ms) - 1) / (len(late_ms) - third)


def plot(result: Result, path: Path) -> None:
    rounds = result.details["late_ms"]
    samples = {f"ours, round {number}": late for number, late in enumerate(rounds, 1)}
    distributions(samples, "From due time to handler", path)
