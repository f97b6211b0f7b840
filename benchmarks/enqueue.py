"""How fast can runs be enqueued, one by one and a thousand at a time, each committed before the call returns?"""

import asyncio
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import plots
from benchmarks.bench import Bench, ratios
from benchmarks.figures import Result
from benchmarks.ours import Ours
from benchmarks.peer_jobs import ARQ, OBAN, PROCRASTINATE, Peer, PeerJobs
from benchmarks.process import cpu_s_of
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.jobs import PING, PingArgs
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport

QUESTION = "How fast can runs be enqueued, committed each time, one by one and in bulk?"
BULK = 1000
BULK_RATE, SINGLE_P50_MS = 20_000, 2.0
OURS_BULK, OURS_SINGLE, OURS_P50 = "ours, in bulks of 1,000", "ours, one by one", "ours, one by one: p50"


def run(bench: Bench) -> None:
    many, few = bench.n(20_000, 1000), bench.n(1000, 20)
    took_ms: list[float] = []
    with bench.servers() as servers, bench.ours(servers) as ours:
        peers = PeerJobs(bench, servers, bench.directory)
        durable = [PROCRASTINATE, *([OBAN] if bench.peers.has_oban() else [])]

        def single() -> float:
            took = _audited(bench, ours, few, 1)
            took_ms.append(statistics.median(took.seconds) * 1000)
            return few / took.together

        contenders = {
            OURS_BULK: lambda: many / _audited(bench, ours, many, BULK).together,
            OURS_SINGLE: single,
        }
        for peer in (ARQ, *durable):
            contenders[f"{peer.name}, in bulks of 1,000"] = partial(
                _fill, bench, peers, peer, bench.n(5000, 1000)
            )
            contenders[f"{peer.name}, one by one"] = partial(_single, bench, peers, peer, few)
        found = bench.in_turns(contenders, "runs/s")
        p50 = bench.figure(OURS_P50, took_ms[-bench.rounds :], "ms")
        bench.result.details["bound_by"] = bound_by(
            _audited(bench, ours, many, BULK), many, _audited(bench, ours, few, 1), few
        )
    bench.target("bulk", found[OURS_BULK].median, "at least", BULK_RATE, "runs/s")
    bench.target(
        "bulk × arq", ratios(found[OURS_BULK], found[f"{ARQ.name}, in bulks of 1,000"]), "at least", 7
    )
    bench.target("one by one, p50", p50.median, "at most", SINGLE_P50_MS, "ms")
    procrastinate = found[f"{PROCRASTINATE.name}, one by one"]
    bench.target("one by one × procrastinate", ratios(found[OURS_SINGLE], procrastinate), "at least", 2)


class Took(NamedTuple):
    """Seconds of each call, committed and pushed; processor seconds of caller and PostgreSQL for all of them."""

    seconds: list[float]
    caller_s: float
    postgres_s: float

    @property
    def together(self) -> float:
        return sum(self.seconds)


def bound_by(bulk: Took, many: int, single: Took, few: int) -> str:
    """What the time of `many` runs in bulks, and of `few` one by one, goes into."""

    def us(seconds: float, runs: int) -> str:
        return f"{seconds / runs * 1e6:.0f} µs"

    return (
        f"Processor time. In bulk a run takes {us(bulk.together, many)}: the caller computes {us(bulk.caller_s, many)} and"
        f" PostgreSQL {us(bulk.postgres_s, many)}, mostly one after the other, since the caller waits for the commit. One by one it"
        f" takes {us(single.together, few)}: the caller computes {us(single.caller_s, few)}, with the push, which goes on beside, and"
        f" PostgreSQL {us(single.postgres_s, few)}."
    )


def _audited(bench: Bench, ours: Ours, runs: int, bulk: int) -> Took:
    ours.rows("TRUNCATE job_runs")
    ours.servers.empty_redis()
    took = asyncio.run(_enqueue(ours, runs, bulk))
    there = ours.rows("SELECT count(*) AS n FROM job_runs WHERE state = 'pending' AND attempt = 0")[0].n
    bench.audit("every call's runs are in the ledger", "" if there == runs else f"{there} of {runs}")
    return took


async def _enqueue(ours: Ours, runs: int, bulk: int) -> Took:
    database = Database(ours.database_url, application="benchmark", bound_s=30)
    redis = connect(ours.redis_url, client_name="benchmark")
    enqueuer = Enqueuer(database, RedisTransport(redis))
    try:
        await enqueuer.enqueue_many(PING, [PingArgs()] * 2)  # connects
        await database.rows("DELETE FROM job_runs RETURNING id")
        took = []
        caller_s, postgres_s = time.process_time(), cpu_s_of(ours.servers.postgres_pid)
        for _ in range(0, runs, bulk):
            began = time.perf_counter()
            if bulk == 1:
                await enqueuer.enqueue(PING, PingArgs())
            else:
                await enqueuer.enqueue_many(PING, [PingArgs() for _ in range(bulk)])
            took.append(time.perf_counter() - began)
        began = time.perf_counter()
        await enqueuer.close()  # the last push is part of it all, as the others are
        took[-1] += time.perf_counter() - began
        return Took(took, time.process_time() - caller_s, cpu_s_of(ours.servers.postgres_pid) - postgres_s)
    finally:
        await enqueuer.close()
        await redis.aclose()
        await database.close()


def _fill(bench: Bench, peers: PeerJobs, peer: Peer, jobs: int) -> float:
    found: Any = bench.peers.run(peer.script, "fill", peers.url(peer), jobs, *peer.options)
    return jobs / float(found["seconds"])


def _single(bench: Bench, peers: PeerJobs, peer: Peer, jobs: int) -> float:
    found: Any = bench.peers.run(peer.script, "single", peers.url(peer), jobs, *peer.options)
    return jobs / float(sum(found["took_s"]))


def plot(result: Result, path: Path) -> None:
    rates = {name: figure for name, figure in result.figures.items() if figure.unit == "runs/s"}
    plots.bars(rates, "runs enqueued a second (logarithmic)", path, log=True)
