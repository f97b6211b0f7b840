"""How long after the call that enqueues does a handler start, on a system that has nothing else to do?"""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from benchmarks import plots
from benchmarks.bench import Bench, ratios
from benchmarks.due import handler_starts
from benchmarks.figures import Figure, Result
from benchmarks.ours import Ours
from benchmarks.peer_jobs import ARQ, ARQ_TUNED, OBAN, PROCRASTINATE, REDIS_PEERS, PeerJobs
from benchmarks.process import Process
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.jobs import PING, PingArgs
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport

QUESTION = "How long after the call that enqueues does a handler start on an idle system?"
GAP_S = 0.05
OURS = "ours"
P50_MS, P99_MS = 4.0, 12.0
#: The first ones find statements unprepared; nobody's count.
WARM_UP = 10


def run(bench: Bench) -> None:
    runs = bench.n(300, 5)
    with bench.servers() as servers, bench.ours(servers) as ours:
        worker = ours.start("worker")
        peers = PeerJobs(bench, servers, bench.directory)
        durable = [PROCRASTINATE, *([OBAN] if bench.peers.has_oban() else [])]
        samples: dict[str, list[list[float]]] = {}

        def median(name: str, late_s: Sequence[float]) -> float:
            samples.setdefault(name, []).append([late * 1000 for late in late_s])
            return statistics.median(late_s) * 1000

        contenders = {OURS: lambda: median(OURS, pickups(bench, ours, worker, runs))}
        # All of them work: `throughput` shows that, too.
        for peer in (ARQ, PROCRASTINATE) if bench.smoke else (ARQ, ARQ_TUNED, *REDIS_PEERS, *durable):
            contenders[peer.name] = partial(
                lambda peer: median(peer.name, peers.pickups(peer, runs + WARM_UP, GAP_S)[WARM_UP:]), peer
            )
        found = bench.in_turns(contenders, "ms, p50", warm_up=False)
        tails = {
            name: bench.figure(f"{name}, p99", [percentile(each, 99) for each in rounds], "ms")
            for name, rounds in samples.items()
        }
        bench.result.details["bound_by"] = _bound_by(bench, ours, worker, runs)
    _targets(bench, found, tails)
    bench.result.details["late_ms"] = {
        name: [[round(late, 2) for late in each] for each in rounds] for name, rounds in samples.items()
    }


def pickups(bench: Bench, ours: Ours, worker: Process, runs: int) -> list[float]:
    """Seconds from each call to the first line of its handler."""
    called, began = _spaced(bench, ours, worker, runs)
    return [began[run_id].timestamp() - at for run_id, at in called.items() if run_id in began][WARM_UP:]


def _spaced(
    bench: Bench, ours: Ours, worker: Process, runs: int
) -> tuple[dict[str, float], Mapping[str, datetime]]:
    """When each was enqueued, and when its handler began, by run id."""
    called = asyncio.run(_enqueue_spaced(ours, runs + WARM_UP))
    deadline = time.monotonic() + 15
    while not called.keys() <= (began := handler_starts(worker)).keys():
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    missing = [run_id for run_id in called if run_id not in began]
    bench.audit("every run was picked up", f"not {missing}" if missing else "")
    return called, began


_STATEMENTS_BEGAN = """
SELECT id, extract(epoch FROM enqueued_at)::float8 AS inserted, extract(epoch FROM started_at)::float8 AS claimed
FROM job_runs WHERE id = ANY (CAST(:ids AS uuid[]))
"""


def _bound_by(bench: Bench, ours: Ours, worker: Process, runs: int) -> str:
    """Once more: what lies between the call and the handler, by the clock that programs and servers here share."""
    called, began = _spaced(bench, ours, worker, runs)
    steps: list[tuple[float, float, float]] = [
        (row.inserted - called[key], row.claimed - row.inserted, began[key].timestamp() - row.claimed)
        for row in ours.rows(_STATEMENTS_BEGAN, ids=list(called)[WARM_UP:])
        if (key := str(row.id)) in began
    ]
    until_insert, until_claim, until_handler = (
        statistics.median(each) * 1000 for each in zip(*steps, strict=True)
    )
    return (
        f"What follows one another: {until_insert:.2f} ms until PostgreSQL begins to insert, {until_claim:.2f} ms until it begins to"
        " claim (the insert's commit on disk, the push, the worker's waking up), and"
        f" {until_handler:.2f} ms until the handler begins (the claim's commit on disk). Two commits are what a run on record costs;"
        " who keeps it in Redis alone is spared both."
    )


async def _enqueue_spaced(ours: Ours, runs: int) -> dict[str, float]:
    """The moment of each call, by run id, in their order."""
    database = Database(ours.database_url, application="benchmark", bound_s=10)
    redis = connect(ours.redis_url, client_name="benchmark")
    enqueuer = Enqueuer(database, RedisTransport(redis))
    called = {}
    try:
        for _ in range(runs):
            at = time.time()
            enqueued = await enqueuer.enqueue(PING, PingArgs())
            called[str(enqueued.run_id)] = at
            await asyncio.sleep(GAP_S)
    finally:
        await enqueuer.close()
        await redis.aclose()
        await database.close()
    return called


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _targets(bench: Bench, found: dict[str, Figure], tails: dict[str, Figure]) -> None:
    bench.target("p50", found[OURS].median, "at most", P50_MS, "ms")
    bench.target("p99", tails[OURS].median, "at most", P99_MS, "ms")
    bench.target(
        "p50: times faster than arq as it comes", ratios(found[ARQ.name], found[OURS]), "at least", 60
    )
    bench.target("p99 ÷ procrastinate's p50", ratios(tails[OURS], found[PROCRASTINATE.name]), "at most", 2)


def plot(result: Result, path: Path) -> None:
    late = {
        name: [each for one in rounds for each in one] for name, rounds in result.details["late_ms"].items()
    }
    plots.distributions(late, "from the enqueue call to the handler's start", path)
