"""What a scheduler that leads and ten workers cost while nothing is due.

What each process sends to Redis is read off MONITOR, which costs an idle server nothing; what a script does inside is not
counted. PostgreSQL counts transactions by database: what the workers add to the scheduler's alone is theirs.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis import Redis
from sqlalchemy.engine import make_url

from benchmarks.bench import Bench
from benchmarks.ours import Ours
from benchmarks.process import Process
from benchmarks.profiling import watching
from benchmarks.servers import Servers

QUESTION = "What does an idle system cost?"
WORKERS = 10
CPU_PERCENT = {"scheduler": 1.0, "worker": 0.5}
COMMANDS_PER_S = 5.0
TRANSACTIONS_PER_S = 2.0
#: What a start leaves behind (imports, first looks, statements prepared) is over by then.
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Rates a second over a stretch of time. `cpu` is in percent of a core, by process; `commands` by kind of process."""

    cpu: Sequence[float]
    commands: Mapping[str, float]
    transactions: float


def run(bench: Bench) -> None:
    seconds, workers = bench.n(30, 3), bench.n(WORKERS, 2)
    bench.rounds = min(bench.rounds, 3)  # half a minute each, of much the same
    with bench.servers(shared_preload_libraries="pg_stat_statements") as servers, bench.ours(servers) as ours:
        scheduler = ours.start("scheduler")
        _settle(bench)
        alone = [_usage(servers, ours, [scheduler], seconds) for _ in range(bench.rounds)]
        crew = [ours.start("worker") for _ in range(workers)]
        _settle(bench)
        together = [_usage(servers, ours, [scheduler, *crew], seconds) for _ in range(bench.rounds)]
        with watching(bench, ours, scheduler) as profile:
            time.sleep(bench.n(15, 1))
        runs = ours.rows("SELECT count(*) AS n FROM job_runs WHERE state <> 'skipped'")[0].n
        bench.audit("nothing was there to do", f"{runs} runs" if runs else "")
        for process in (scheduler, *crew):
            bench.audit("ends with status 0", "" if process.stop() == 0 else f"pid {process.pid} did not")
    _tell(bench, "scheduler", [each.cpu[0] for each in alone + together],
          [each.commands["scheduler"] for each in alone + together],
          [each.transactions for each in alone])  # fmt: skip
    base = sum(each.transactions for each in alone) / len(alone)
    _tell(bench, "worker", [sum(each.cpu[1:]) / workers for each in together],
          [each.commands["worker"] / workers for each in together],
          [max(0.0, each.transactions - base) / workers for each in together])  # fmt: skip
    silent = [kind for kind, rate in together[-1].commands.items() if rate == 0]
    bench.audit("each kind of process talks to Redis", f"not {', '.join(silent)}" if silent else "")
    bench.result.details["profile"] = profile.as_json()
    bench.result.details["bound_by"] = (
        "Timers: the scheduler's event loop wakes for its own ticks, the health server's and the leader's, and between them looks"
        " once a second (one statement for stores, relay and sweeper), renews the leader lock four times in each TTL and notes"
        " every three seconds that Redis still remembers; a worker waits for its three queues, two seconds at a time, and looks at"
        " probes and pauses."
    )


def _settle(bench: Bench) -> None:
    time.sleep(bench.n(int(SETTLE_S), 1))


def _tell(
    bench: Bench, kind: str, cpu: Sequence[float], commands: Sequence[float], transactions: Sequence[float]
) -> None:
    for what, values, unit, most in (
        ("CPU", cpu, "% of a core", CPU_PERCENT[kind]),
        ("commands to Redis", commands, "/s", COMMANDS_PER_S),
        ("transactions", transactions, "/s", TRANSACTIONS_PER_S),
    ):
        figure = bench.figure(f"{kind}: {what}", values, unit)
        bench.target(f"{kind}: {what}", figure.median, "at most", most, unit)


def _usage(servers: Servers, ours: Ours, processes: Sequence[Process], seconds: float) -> Usage:
    cpu, transactions = [process.cpu_s() for process in processes], _transactions(servers, ours)
    began = time.monotonic()
    commands = _commands(ours, seconds)
    took_s = time.monotonic() - began
    return Usage(
        [(process.cpu_s() - before) * 100 / took_s for process, before in zip(processes, cpu, strict=True)],
        {kind: count / took_s for kind, count in commands.items()},
        (_transactions(servers, ours) - transactions) / took_s,
    )


def _commands(ours: Ours, seconds: float) -> dict[str, int]:
    """How many commands each kind of process sends meanwhile, by the names of its connections."""
    sent: Counter[str] = Counter()
    until = time.monotonic() + seconds
    with Redis.from_url(ours.redis_url) as redis:
        with redis.monitor() as monitor:
            while (left_s := until - time.monotonic()) > 0:
                if monitor.connection.can_read(timeout=left_s):
                    seen = monitor.next_command()
                    sent[
                        f"{seen['client_address']}:{seen['client_port']}"
                        if seen["client_type"] != "lua"
                        else ""
                    ] += 1
        names = {client["addr"]: client["name"] for client in redis.client_list()}
    counts = {"scheduler": 0, "worker": 0}
    for address, count in sent.items():
        if name := names.get(address):
            counts["worker" if name.startswith("cuebx-worker") else "scheduler"] += count
    return counts


def _transactions(servers: Servers, ours: Ours) -> int:
    """Of the whole database so far; looked at from another one, so that the look itself is not counted."""
    name = make_url(ours.database_url).database
    look_from = make_url(ours.database_url).set(database="postgres").render_as_string(hide_password=False)
    sql = "SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = :name"
    return int(servers.rows(look_from, sql, name=name)[0].n)
