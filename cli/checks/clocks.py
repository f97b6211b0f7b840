"""The clocks of this host, PostgreSQL and Redis. PostgreSQL's decides; one that differs misleads whoever reads logs,
and makes signed webhooks look too old."""

import time
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from cli.checks.finding import Finding, ok, problem
from cli.services import Services

TOLERATED_S = 2.0
ROUNDS = 3


async def check_clocks(services: Services) -> list[Finding]:
    async def database() -> float:
        sql = "SELECT extract(epoch FROM clock_timestamp())"
        return float((await services.database.rows(sql))[0][0])

    async def redis() -> float:
        seconds, micros = await services.redis.time()
        return float(seconds) + float(micros) / 1e6

    offsets = {}
    for name, clock in (("PostgreSQL", database), ("Redis", redis)):
        try:
            offsets[name] = await _offset(clock)
        except (RedisError, OSError):
            continue  # its own check has said so
    return skews(offsets)


def skews(offsets: dict[str, float]) -> list[Finding]:
    """Findings for clocks that are ahead of this host's by so many seconds."""
    bad = {name: offset for name, offset in offsets.items() if abs(offset) > TOLERATED_S}
    if not bad:
        worst = max(map(abs, offsets.values()), default=0.0)
        return [ok("clocks", f"within {worst:.3f} s of each other")]
    found = ", ".join(
        f"{name} is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} this host"
        for name, offset in bad.items()
    )
    return [problem("clocks", found, "synchronise the hosts (chrony, systemd-timesyncd)")]


async def _offset(clock: Callable[[], Awaitable[float]]) -> float:
    """Seconds by which a clock is ahead, from the quickest of a few round trips."""
    best = (float("inf"), 0.0)
    for _ in range(ROUNDS):
        before = time.time()
        there = await clock()
        after = time.time()
        best = min(best, (after - before, there - (before + after) / 2))
    return best[1]
