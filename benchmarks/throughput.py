"""How many no-op runs a second go through the whole path, with every outcome committed, beside peers that forget them."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks import plots, profiling
from benchmarks.bench import Bench, ratios
from benchmarks.figures import Figure, Result
from benchmarks.flood import flood
from benchmarks.ours import Ours
from benchmarks.peer_jobs import ARQ_TUNED, OBAN, PROCRASTINATE, REDIS_PEERS, PeerJobs

QUESTION = "How many no-op runs a second does a worker take from enqueued to recorded?"
#: What the peers are tuned to, too.
TUNED = {"WORKER_MAX_JOBS": "200"}
ONE, TWO, AS_IT_COMES = "ours, 1 worker", "ours, 2 workers", "ours as it comes (50 at once), 1 worker"
OBAN_TWO = "Oban, 2 workers"
TIMES_OBAN = 10


def run(bench: Bench) -> None:
    runs = bench.n(20_000, 500)
    with (
        bench.servers(shared_preload_libraries="pg_stat_statements") as servers,
        bench.ours(servers, **TUNED) as one,
        bench.ours(servers, **TUNED) as two,
        bench.ours(servers) as plain,
    ):
        peers = PeerJobs(bench, servers, bench.directory)
        # The start of every peer alone takes longer than a smoke may: one of each kind shows that the path works.
        redis = REDIS_PEERS[:1] if bench.smoke else REDIS_PEERS
        with_oban = not bench.smoke and bench.peers.has_oban()
        durable = [PROCRASTINATE, *([OBAN] if with_oban else [])]
        contenders = {
            ONE: partial(_ours, bench, one, 1, runs),
            TWO: partial(_ours, bench, two, 2, runs),
        }
        if not bench.smoke:
            contenders[AS_IT_COMES] = partial(_ours, bench, plain, 1, runs)
        for peer in (ARQ_TUNED, *redis, *durable):
            contenders[f"{peer.name}, 1 worker"] = partial(peers.flood, peer, bench.n(peer.jobs, 100))
        if with_oban:
            contenders[OBAN_TWO] = partial(peers.flood, OBAN, bench.n(OBAN.jobs * 2, 100), workers=2)
        found = bench.in_turns(contenders, "runs/s")
        _targets(bench, found)
        _profile(bench, one, runs, found)


def _ours(bench: Bench, ours: Ours, workers: int, runs: int) -> float:
    """Workers of their own each time, as the peers have, warm before the flood comes."""
    started = [ours.start("worker") for _ in range(workers)]
    try:
        flood(ours, min(runs, 1000))
        found = flood(ours, runs)
    finally:
        for worker in started:
            worker.stop()
    bench.audit(f"{runs:,} in, {runs:,} distinct outcomes, none twice", found.wrong)
    return found.rate


def _targets(bench: Bench, found: dict[str, Figure]) -> None:
    one, two = found[ONE], found[TWO]
    bench.target("× tuned arq", ratios(one, found["arq tuned, 1 worker"]), "at least", 10)
    redis = {
        peer.name: found[f"{peer.name}, 1 worker"]
        for peer in REDIS_PEERS
        if f"{peer.name}, 1 worker" in found
    }
    best = max(redis, key=lambda name: redis[name].median)
    bench.target("× the best Redis peer", ratios(one, redis[best]), "at least", 5, why=f"it is {best}")
    oban, oban_two = found.get("Oban, 1 worker"), found.get(OBAN_TWO)
    missing = "" if oban else "not in a smoke" if bench.smoke else "no Python 3.12 here"
    bench.target("× Oban", ratios(one, oban) if oban else None, "at least", TIMES_OBAN, why=missing)
    bench.target("× procrastinate", ratios(one, found["procrastinate, 1 worker"]), "at least", 30)
    bench.target("two workers × one", ratios(two, one), "at least", 1.3)
    bench.target(
        "two workers × Oban's two", ratios(two, oban_two) if oban_two else None, "at least", 4, why=missing
    )


def _profile(bench: Bench, ours: Ours, runs: int, found: Mapping[str, Figure]) -> None:
    """Once more, watched: what the time goes into. Watching slows it down: what was `found` it reaches alone."""
    worker = ours.start("worker")
    flood(ours, min(runs, 1000))
    with profiling.watching(bench, ours, worker) as seen:
        flood(ours, runs)
    worker.stop()
    bench.result.details["profile"] = seen.as_json()
    rate, oban = found[ONE].median, found.get("Oban, 1 worker")
    wanted = None if oban is None else TIMES_OBAN * oban.median
    bench.result.details["bound_by"] = bound_by(
        {name: s / runs for name, s in seen.cpu_s.items()},
        rate,
        os.cpu_count() or 1,
        wanted if wanted and rate < wanted else None,
    )


def bound_by(cpu_s: Mapping[str, float], rate: float, cores: int, wanted: float | None = None) -> str:
    """What limits one worker, and two. `cpu_s`: processor seconds a run of worker, postgres and valkey; `rate`: runs a second, as
    is `wanted`, where that was missed."""
    us = {name: s * 1e6 for name, s in cpu_s.items()}
    together = sum(us.values())
    ratio = min(2.0, cores * us["worker"] / together)
    text = (
        f"The worker's processor time: {us['worker']:.0f} µs a run, of one core {cpu_s['worker'] * rate:.0%}. PostgreSQL has"
        f" {us['postgres']:.0f} µs a run and Valkey {us['valkey']:.0f}. Two workers share {cores} cores with both: at"
        f" {together:.0f} µs a run over all of them {cores / together * 1e6:,.0f} runs a second are the most that any number of"
        f" workers can reach here, and {cores} × {us['worker']:.0f} / {together:.0f} = {ratio:.2f} times one worker's own limit is"
        " the most that two can."
    )
    if wanted is None:
        return text
    return (
        f"{text} {TIMES_OBAN} times Oban's one worker would be {wanted:,.0f} a second, {1e6 / wanted:.0f} µs of the one core that an"
        " interpreter has. What would get there is no other protocol: a worker of several processes, or of an interpreter"
        " that runs threads side by side (Oban's does), and a core more for PostgreSQL."
    )


def plot(result: Result, path: Path) -> None:
    plots.bars(
        result.figures,
        "runs a second (each round; the bar is the median)",
        path,
        ours="ours",
    )
