"""Redis and PostgreSQL go away and come back: short outages, and ones so long that every back-off has grown."""

import time
from collections.abc import Callable, Mapping
from random import Random

from tests.chaos.bounds.cluster import Cluster
from tests.chaos.bounds.measure import Bound, Measure, pause
from tests.chaos.rig.link import Link

FLOWS_WITHIN_S = 5.0
#: In turn, short and long. A long one ends at any phase of the back-offs that have reached their cap.
AWAY_S = ((1.0, 4.0), (8.0, 30.0))
#: A fire that was committed after `since`, and a run: when they had run.
_FIRED_SINCE = """
SELECT extract(epoch FROM finished_at) FROM job_runs
WHERE schedule_id = 'tick' AND enqueued_at > to_timestamp(:since) AND finished_at IS NOT NULL ORDER BY finished_at LIMIT 1
"""
_RAN = "SELECT extract(epoch FROM finished_at) FROM job_runs WHERE id = :id AND finished_at IS NOT NULL"


#: Makes an outage of so many seconds, and returns when the server answers again. Of a try with this number.
Outage = Callable[[Cluster, float, int], None]


def _redis_killed(cluster: Cluster, away_s: float, number: int) -> None:
    cluster.valkey.kill()
    pause(away_s)
    cluster.valkey.start()


def _postgres_stopped(cluster: Cluster, away_s: float, number: int) -> None:
    cluster.postgres.stop("immediate")
    pause(away_s)
    cluster.postgres.start()


def _redis_cut_off(cluster: Cluster, away_s: float, number: int) -> None:
    _cut_off(cluster.redis_link, away_s, number)


def _postgres_cut_off(cluster: Cluster, away_s: float, number: int) -> None:
    _cut_off(cluster.postgres_link, away_s, number)


def _cut_off(link: Link, away_s: float, number: int) -> None:
    """In turn, by pairs: connections are reset and refused; or nobody is told, and what was sent arrives at the end."""
    if (number - 1) // len(AWAY_S) % 2 == 0:
        link.cut()
    else:
        link.blackhole()
    pause(away_s)
    link.heal()


def _measure(name: str, what: str, outage: Outage, *, linked: bool = False) -> Measure:
    """It counts from the end of the outage."""

    def run(cluster: Cluster, rand: Random, number: int) -> Mapping[str, float]:
        away_s = rand.uniform(*AWAY_S[(number - 1) % len(AWAY_S)])
        with cluster.ticking("1s"):
            outage(cluster, away_s, number)
            back_at = time.time()
            run_id = cluster.enqueue()
            ran = cluster.value(_RAN, "the run enqueued after it", id=run_id)
            fired = cluster.value(_FIRED_SINCE, "a fire after it", since=back_at)
            cluster.everybody_is_alive()
            return {f"{name}_fire": fired - back_at, f"{name}_run": ran - back_at}

    bounds = {
        f"{name}_fire": Bound(f"{what} → a fire has run", FLOWS_WITHIN_S),
        f"{name}_run": Bound(f"{what} → a run enqueued then has run", FLOWS_WITHIN_S),
    }
    return Measure(name, bounds, run, linked)


MEASURES = (
    _measure("redis_killed", "Redis answers again, after kill -9 and 1 to 30 s", _redis_killed),
    _measure(
        "postgres_stopped",
        "PostgreSQL answers again, after an immediate shutdown and 1 to 30 s",
        _postgres_stopped,
    ),
    _measure(
        "redis_cut_off",
        "Redis can be reached again, after 1 to 30 s without network",
        _redis_cut_off,
        linked=True,
    ),
    _measure(
        "postgres_cut_off",
        "PostgreSQL can be reached again, after 1 to 30 s without network",
        _postgres_cut_off,
        linked=True,
    ),
)
