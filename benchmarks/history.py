"""Does what a worker does become slower with ten million finished runs in the ledger?"""

import statistics
from functools import partial
from pathlib import Path

from benchmarks import plots
from benchmarks.bench import Bench, ratios
from benchmarks.figures import Figure, Result
from benchmarks.flood import flood
from benchmarks.ours import Ours
from benchmarks.pickup import percentile, pickups
from benchmarks.throughput import TUNED

QUESTION = "Do runs become slower with ten million finished ones in the ledger?"
EMPTY, FULL = "empty ledger", "full ledger"
SLOWER = 1.1
CHUNK = 1_000_000


def run(bench: Bench) -> None:
    runs, picked, finished = bench.n(20_000, 500), bench.n(300, 10), bench.n(10_000_000, 20_000)
    # Only so that filling and vacuuming do not take longer than all the rest; what is measured is as durable as ever.
    with bench.servers(max_wal_size="8GB", maintenance_work_mem="1GB") as servers:
        with bench.ours(servers, **TUNED) as empty, bench.ours(servers, **TUNED) as full:
            _fill(bench, full, finished)
            rates = bench.in_turns(
                {
                    f"runs/s, {name}": partial(_rate, bench, ours, runs)
                    for name, ours in ((EMPTY, empty), (FULL, full))
                },
                "runs/s",
            )
            tails: dict[str, list[float]] = {EMPTY: [], FULL: []}
            halves = bench.in_turns(
                {
                    f"pick-up p50, {name}": partial(_pickup, bench, ours, picked, tails[name])
                    for name, ours in ((EMPTY, empty), (FULL, full))
                },
                "ms",
                warm_up=False,
            )
            p99 = {name: bench.figure(f"pick-up p99, {name}", values, "ms") for name, values in tails.items()}
            _targets(bench, rates, halves, p99)


def _fill(bench: Bench, ours: Ours, runs: int) -> None:
    """Finished runs of the last 90 days; the indexes they are in are made afterwards, from the same definitions."""
    indexes = ours.rows(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS sql FROM pg_index"
        " WHERE indrelid = 'job_runs'::regclass AND NOT indisprimary"
    )
    for index in indexes:
        ours.rows(f"DROP INDEX {index.name}")
    for first in range(0, runs, CHUNK):
        ours.rows(_FINISHED, n=min(CHUNK, runs - first), of=runs, first=first)
        bench.say(f"{min(first + CHUNK, runs):,} finished runs")
    for index in indexes:
        ours.rows(index.sql)
    ours.servers.vacuum(ours.database_url)
    there = ours.rows("SELECT count(*) AS n FROM job_runs WHERE state = 'succeeded'")[0].n
    bench.audit("the ledger is as full as it should be", "" if there == runs else f"{there} of {runs}")
    size = ours.rows("SELECT pg_total_relation_size('job_runs') / 1048576 AS mib")[0].mib
    bench.result.details["ledger_mib"] = int(size)


#: A tenth of them of schedules.
_FINISHED = """
INSERT INTO job_runs (job, queue, priority, state, attempt, result, run_at, enqueued_at, started_at, finished_at,
  schedule_id, schedule_generation, due_at)
SELECT 'ping', 'maintenance', 3, 'succeeded', 1, '{}', at, at, at, at,
  CASE WHEN i % 10 = 0 THEN 'schedule-' || i % 1000 END, CASE WHEN i % 10 = 0 THEN 1 END, CASE WHEN i % 10 = 0 THEN at END
FROM (
  SELECT i, now() - interval '90 days' * (1 - (i + :first) / CAST(:of AS float8)) AS at FROM generate_series(1, :n) AS i
) s
"""


def _rate(bench: Bench, ours: Ours, runs: int) -> float:
    worker = ours.start("worker")
    try:
        flood(ours, min(runs, 1000))
        found = flood(ours, runs)
    finally:
        worker.stop()
    bench.audit(f"{runs:,} in, {runs:,} distinct outcomes, none twice", found.wrong)
    return found.rate


def _pickup(bench: Bench, ours: Ours, runs: int, tails: list[float]) -> float:
    worker = ours.start("worker")
    try:
        late_ms = [late * 1000 for late in pickups(bench, ours, worker, runs)]
    finally:
        worker.stop()
    tails.append(percentile(late_ms, 99))
    return statistics.median(late_ms)


def _targets(
    bench: Bench, rates: dict[str, Figure], halves: dict[str, Figure], p99: dict[str, Figure]
) -> None:
    slower = {
        "runs a second: times slower when full": ratios(rates[f"runs/s, {EMPTY}"], rates[f"runs/s, {FULL}"]),
        "pick-up p50: times slower when full": ratios(
            halves[f"pick-up p50, {FULL}"], halves[f"pick-up p50, {EMPTY}"]
        ),
        "pick-up p99: times slower when full": ratios(p99[FULL], p99[EMPTY]),
    }
    for name, ratio in slower.items():
        bench.target(name, ratio, "at most", SLOWER)


def plot(result: Result, path: Path) -> None:
    rates = {name: figure for name, figure in result.figures.items() if figure.unit == "runs/s"}
    plots.bars(rates, "runs a second, by what the ledger holds", path, ours=f"runs/s, {FULL}")
