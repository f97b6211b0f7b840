"""The peers that run no-op jobs, and how a flood of them, or a slow trickle, is measured."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import Process
from benchmarks.servers import Servers

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Peer:
    """A script of `benchmarks/peers`. `durable`: on PostgreSQL. `jobs` as many as it runs in some seconds: its rate does
    not depend on that."""

    name: str
    script: str
    jobs: int
    options: tuple[str, ...] = ()
    durable: bool = False


ARQ = Peer("arq as it comes", "arq_jobs", 500)
ARQ_TUNED = Peer("arq tuned", "arq_jobs", 4000, ("tuned",))
PROCRASTINATE = Peer("procrastinate", "procrastinate_jobs", 1000, durable=True)
OBAN = Peer("Oban", "oban_jobs", 4000, durable=True)
REDIS_PEERS = (
    Peer("SAQ", "saq_jobs", 4000),
    Peer("taskiq list", "taskiq_jobs", 5000),
    Peer("taskiq stream", "taskiq_jobs", 5000, ("stream",)),
    Peer("dramatiq", "dramatiq_jobs", 5000),
    Peer("Celery", "celery_jobs", 2000),
    Peer("pydocket", "pydocket_jobs", 4000),
    Peer("streaQ", "streaq_jobs", 3000),
)


class PeerJobs:
    """Runs peers on these servers. Each call has a database of its own, or an emptied Redis of its own number."""

    def __init__(self, bench: Bench, servers: Servers, directory: Path) -> None:
        self._bench, self._servers, self._directory = bench, servers, directory
        self._runs = 0

    def url(self, peer: Peer) -> str:
        if peer.durable:
            return self._servers.new_database()
        self._servers.empty_redis(1)
        return self._servers.redis_url(1)

    def flood(self, peer: Peer, jobs: int, *, workers: int = 1) -> float:
        """Jobs a second: they wait when the workers start, and what a worker's start takes does not count."""
        url = self.url(peer)
        self._bench.peers.run(peer.script, "fill", url, jobs, *peer.options)
        with ExitStack() as stack:
            told = [self._start(stack, peer, url) for _ in range(workers)]
            seen = self._until(lambda: _sum(told)["jobs"] >= jobs, told)
        wrong = (
            "" if (seen["jobs"], seen["sum"]) == (jobs, jobs * (jobs - 1) // 2) else f"{peer.name}: {seen}"
        )
        self._bench.audit("peers ran each job once", wrong)
        return float(jobs / (seen["last"] - seen["first"]))

    def pickups(self, peer: Peer, jobs: int, gap_s: float) -> list[float]:
        """Seconds from the call that enqueues to the job's first line, on a worker that has nothing else to do."""
        url = self.url(peer)
        self._bench.peers.run(peer.script, "fill", url, 1, *peer.options)
        with ExitStack() as stack:
            told = [self._start(stack, peer, url)]
            self._until(lambda: _sum(told)["jobs"] >= 1, told)
            self._bench.peers.run(peer.script, "spaced", url, jobs, gap_s, *peer.options)
            seen = self._until(lambda: _sum(told)["jobs"] >= 1 + jobs, told)
        return list(seen["late"])

    def _start(self, stack: ExitStack, peer: Peer, url: str) -> Process:
        self._runs += 1
        output = self._directory / f"{peer.script}-{self._runs}.log"
        worker = self._bench.peers.start(peer.script, "work", url, *peer.options, output=output)
        stack.callback(worker.kill)
        return worker

    def _until(self, there: Callable[[], bool], told: list[Process], limit_s: float = 120) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while not there():
            if time.monotonic() > deadline:
                ends = "\n".join(worker.output[-1500:] for worker in told)
                raise RuntimeError(f"after {limit_s:g} s: {_sum(told)}\n{ends}")
            time.sleep(LOOK_EVERY_S)
        return _sum(told)


def _sum(workers: list[Process]) -> dict[str, Any]:
    """What they all have told, together."""
    latest: dict[int, Mapping[str, Any]] = {}
    for worker in workers:
        for line in worker.output.splitlines():
            if line.startswith('{"who"') and line.endswith("}"):
                found = json.loads(line)
                latest[found["who"]] = found
    return {
        "jobs": sum(each["jobs"] for each in latest.values()),
        "sum": sum(each["sum"] for each in latest.values()),
        "first": min((each["first"] for each in latest.values()), default=0.0),
        "last": max((each["last"] for each in latest.values()), default=0.0),
        "late": [late for each in latest.values() for late in each["late"]],
    }
