"""Thousands of one-shots due in the same second: until when is every one committed and queued, and who stood still meanwhile?"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, ratios
from benchmarks.figures import Result
from benchmarks.ours import Ours
from benchmarks.plots import OURS, THIRD, picture
from benchmarks.profiling import Profile, watching
from benchmarks.storming import Storm, storm

QUESTION = "How long do ten thousand fires of one second take until all are committed and queued?"
SECONDS, BIG_SECONDS = 1.5, 15.0
#: A renewal of the leader lock is due every quarter of its TTL of 3 s; one that is a quarter of a second late leaves less.
LOCK_LEFT_S = 2.0
STALL_S = 0.05
AGAINST = {"APScheduler": 12, "RedBeat": 15}


def run(bench: Bench) -> None:
    n, big = bench.n(10_000, 500), bench.n(100_000, 1000)
    storms: list[Storm] = []
    peer_stalls: list[float] = []
    with bench.servers(shared_preload_libraries="pg_stat_statements") as servers, bench.ours(servers) as ours:
        apscheduler_database = servers.new_database()
        scheduler = ours.start("scheduler")

        def our_storm() -> float:
            storms.append(storm(ours, scheduler, n))
            bench.audit("each fire committed once and queued once, no schedule left", storms[-1].wrong)
            return storms[-1].seconds

        def apscheduler() -> float:
            found = _peer(bench, "apscheduler_storm", apscheduler_database, servers.redis_url(1), n)
            bench.audit("APScheduler left nothing", f"{found['left']} jobs" if found["left"] else "")
            peer_stalls.append(found["stall_s"])
            return float(found["seconds"])

        def redbeat() -> float:
            return float(_peer(bench, "redbeat_storm", "-", servers.redis_url(2), n)["seconds"])

        storm(ours, scheduler, bench.n(2000, 100))  # warm-up: the peers start anew each time
        found = bench.in_turns(
            {"ours": our_storm, "APScheduler": apscheduler, "RedBeat": redbeat}, "s", warm_up=False
        )
        large = storm(ours, scheduler, big)
        bench.audit("each fire committed once and queued once, no schedule left", large.wrong)
        _leadership(bench, ours, [*storms, large])
        profiles: list[Profile] = []

        @contextmanager
        def watch() -> Iterator[None]:
            with watching(bench, ours, scheduler) as profile:
                yield
            profiles.append(profile)

        storm(ours, scheduler, n, watch=watch)
    bench.figure("ours, 100,000", [large.seconds], "s")
    bench.figure("APScheduler's longest stall", peer_stalls, "s")
    bench.target("10,000 committed and queued", found["ours"].median, "at most", SECONDS, "s")
    bench.target("100,000 committed and queued", large.seconds, "at most", BIG_SECONDS, "s")
    for name, times in AGAINST.items():
        bench.target(f"against {name}", ratios(found[name], found["ours"]), "at least", times)
    over = sum(each.stalls[STALL_S] for each in [*storms, large])
    bench.target("stalls of the event loop over 50 ms", over, "at most", 0, "stalls")
    bench.result.details |= {
        "over_time": [[round(s, 3), count] for s, count, _ in storms[-1].over_time],
        "committed": _in_order(storms[-1]),
        "stalls": [{str(bound): count for bound, count in each.stalls.items()} for each in [*storms, large]],
        "profile": profiles[0].as_json(),
        "bound_by": bound_by(
            profiles[0].cpu_s,
            n,
            found["ours"].median,
            {name: found[name].median / times for name, times in AGAINST.items()},
            os.cpu_count() or 1,
        ),
    }


def _in_order(one: Storm) -> list[list[float]]:
    """Seconds after the due time, and how many fires were committed by transactions that had begun by then."""
    total, found = 0, []
    for seconds, count in one.fired:
        total += count
        found.append([round(seconds, 3), total])
    return found


def bound_by(
    cpu_s: Mapping[str, float], n: int, seconds: float, wanted: Mapping[str, float], cores: int
) -> str:
    """What limits `n` fires that took `seconds`, and what would reach the seconds that are `wanted`. `cpu_s`: processor seconds
    of scheduler, postgres and valkey for all of them."""
    together = sum(cpu_s.values())
    targets = ", ".join(f"{s:.2f} s ({AGAINST[name]} × {name})" for name, s in wanted.items())
    return (
        f"Processor time: watched, which slows it down, {n:,} fires take the scheduler {cpu_s['scheduler']:.2f} s, PostgreSQL {cpu_s['postgres']:.2f} s and"
        f" Valkey {cpu_s['valkey']:.2f} s. {cores} cores cannot do that in less than {together / cores:.2f} s, one interpreter not"
        f" its part in less than {cpu_s['scheduler']:.2f} s; not watched it took {seconds:.2f} s. PostgreSQL inserts a row into the ledger and its"
        " indexes, deletes a schedule, and marks the row as queued; the scheduler reads the definitions (JSON, checked against"
        f" the job's schema), writes the statements' parameters, and relays beside it. Wanted are {targets}: for less there"
        " would have to be a core more, and the relay a process of its own, so that it does not share the firing path's"
        " interpreter; or a row that is `queued` when it is inserted, which decision 10 is against: it would be a promise"
        " instead of a fact."
    )


def plot(result: Result, path: Path) -> None:
    with picture(path) as figure:
        axes = figure.subplots()
        for name, label, colour in (("committed", "committed", THIRD), ("over_time", "in Redis", OURS)):
            points = result.details[name]
            axes.step([s for s, _ in points], [n for _, n in points], where="post", color=colour, label=label)
        axes.set_title("Ten thousand one-shots of one second", loc="left")
        axes.set_xlabel("seconds after the due time")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid()
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def _peer(bench: Bench, script: str, database: str, redis_url: str, n: int) -> Any:
    found = bench.peers.run(script, database, redis_url, n)
    bench.audit(f"{script}: each once", "" if found["distinct"] == n else f"{found['distinct']} of {n}")
    return found


def _leadership(bench: Bench, ours: Ours, storms: list[Storm]) -> None:
    terms = ours.rows("SELECT count(*) AS n FROM leader_terms")[0].n
    bench.audit("the leader kept its term", "" if terms == 1 else f"{terms} terms")
    left = bench.figure("leader lock, least time left", [each.lock_left_s for each in storms], "s")
    bench.target("leader lock, least time left", min(left.values), "at least", LOCK_LEFT_S, "s")
