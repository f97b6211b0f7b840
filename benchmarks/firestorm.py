"""Thousands of one-shots due in the same second: until when is every one committed and queued, and who stood still meanwhile?"""

from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, ratios
from benchmarks.figures import Result
from benchmarks.ours import Ours
from benchmarks.plots import OURS, THIRD, picture
from benchmarks.profiling import watching
from benchmarks.storming import Storm, storm

QUESTION = "How long do ten thousand fires of one second take until all are committed and queued?"
SECONDS, BIG_SECONDS = 1.5, 15.0
#: A renewal of the leader lock is due every quarter of its TTL of 3 s; one that is a quarter of a second late leaves less.
LOCK_LEFT_S = 2.0
STALL_S = 0.05


def run(bench: Bench) -> None:
    n, big = bench.n(10_000, 500), bench.n(100_000, 1000)
    bench.rounds = min(bench.rounds, 3)  # peers take half a minute each
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
        with watching(bench, ours, scheduler) as profile:
            storm(ours, scheduler, n)
    bench.figure("ours, 100,000", [large.seconds], "s")
    bench.figure("APScheduler's longest stall", peer_stalls, "s")
    bench.target("10,000 committed and queued", found["ours"].median, "at most", SECONDS, "s")
    bench.target("100,000 committed and queued", large.seconds, "at most", BIG_SECONDS, "s")
    bench.target("against APScheduler", ratios(found["APScheduler"], found["ours"]), "at least", 12)
    bench.target("against RedBeat", ratios(found["RedBeat"], found["ours"]), "at least", 15)
    over = sum(each.stalls[STALL_S] for each in [*storms, large])
    bench.target("stalls of the event loop over 50 ms", over, "at most", 0, "stalls")
    bench.result.details |= {
        "over_time": [[round(s, 3), count] for s, count, _ in storms[-1].over_time],
        "committed": _in_order(storms[-1]),
        "stalls": [{str(bound): count for bound, count in each.stalls.items()} for each in [*storms, large]],
        "profile": profile.as_json(),
        "bound_by": (
            "PostgreSQL's work for each fire: one row into the ledger and its indexes, one schedule and its id deleted, then"
            " the row marked as queued. The scheduler's own share is reading the definitions (JSON, checked against the job's"
            " schema) and writing the parameters of the statements; relaying goes on beside it."
        ),
    }


def _in_order(one: Storm) -> list[list[float]]:
    """Seconds after the due time, and how many fires were committed by transactions that had begun by then."""
    total, found = 0, []
    for seconds, count in one.fired:
        total += count
        found.append([round(seconds, 3), total])
    return found


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
