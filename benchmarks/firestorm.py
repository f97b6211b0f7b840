"""Thousands of one-shots due in the same second: until when is every one committed and queued, and who stood still meanwhile?"""

from typing import Any

from benchmarks.bench import Bench, ratios
from benchmarks.ours import Ours
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
    with bench.servers() as servers, bench.ours(servers) as ours:
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
        "committed": storms[-1].fired,
        "stalls": [{str(bound): count for bound, count in each.stalls.items()} for each in [*storms, large]],
        "bound_by": "To be told by the profile.",
    }


def _peer(bench: Bench, script: str, database: str, redis_url: str, n: int) -> Any:
    found = bench.peers.run(script, database, redis_url, n)
    bench.audit(f"{script}: each once", "" if found["distinct"] == n else f"{found['distinct']} of {n}")
    return found


def _leadership(bench: Bench, ours: Ours, storms: list[Storm]) -> None:
    terms = ours.rows("SELECT count(*) AS n FROM leader_terms")[0].n
    bench.audit("the leader kept its term", "" if terms == 1 else f"{terms} terms")
    left = bench.figure("leader lock, least time left", [each.lock_left_s for each in storms], "s")
    bench.target("leader lock, least time left", min(left.values), "at least", LOCK_LEFT_S, "s")
