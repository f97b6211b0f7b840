"""One storm of our own: N one-shots that come due in the same second, seen from outside while they fire."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from benchmarks.due import ACTOR, opened
from benchmarks.ours import Ours
from benchmarks.process import Process
from benchmarks.stalls import stalls
from shared.core.schedule import DateTrigger, ScheduleSpec
from shared.queue import keys

LOOK_EVERY_S = 0.02
LIMIT_S = 120.0
#: Who watches has begun to by then.
WATCHED_FROM_S = 1.5
#: Runs but those of the system's own schedules, which fire every few minutes as well.
_RUNS = (
    "(SELECT * FROM job_runs r WHERE NOT EXISTS"
    " (SELECT FROM schedules s WHERE s.id = r.schedule_id AND s.version IS NOT NULL)) runs"
)


@dataclass(frozen=True, slots=True)
class Storm:
    """`seconds` from the due time until all are committed and their messages in Redis; `over_time` has, every so often, the
    seconds since then, how many were in Redis, and for how long (s) the leader lock still held."""

    seconds: float
    over_time: list[tuple[float, int, float]]
    #: Of the scheduler's event loop: how many stretches were longer than this many seconds.
    stalls: dict[float, int]
    wrong: str = ""
    #: Seconds after the due time at which transactions began, and how many fires each committed.
    fired: list[tuple[float, int]] = field(default_factory=list)

    @property
    def lock_left_s(self) -> float:
        return min(left for _, _, left in self.over_time)


def storm(
    ours: Ours,
    scheduler: Process,
    n: int,
    *,
    watch: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Storm:
    """No worker runs, so that everything stays queued. Leaves ledger and queue empty. `watch` is around the fires alone."""
    queue = keys.queue("maintenance")
    with Redis.from_url(ours.redis_url) as redis, opened(ours) as schedules:
        due = time.time() + 2.0 + n / 2000
        trigger = DateTrigger(at=datetime.fromtimestamp(due, UTC))
        schedules.add_many(
            (ScheduleSpec(id=f"one-{i}", job="ping", trigger=trigger) for i in range(n)), actor=ACTOR
        )
        if time.time() > due:
            raise RuntimeError("the schedules were due before they were all there")
        time.sleep(max(0.0, due - time.time() - WATCHED_FROM_S))
        with watch():
            before = stalls(scheduler)
            time.sleep(max(0.0, due - time.time()))
            over_time = _until_all(redis, queue, n, due, scheduler)
            rows = _wait_marked(ours, n)
        seconds = max(over_time[-1][0], rows.marked_s - due)
        found = Storm(seconds, over_time, _more(before, stalls(scheduler)), _wrong(ours, n), rows.committed)
        ours.rows("TRUNCATE job_runs")
        redis.delete(queue, keys.wake("maintenance"))
    return found


def _until_all(
    redis: Any,  # redis-py's own types say that each answer may have to be awaited
    queue: str,
    n: int,
    due: float,
    scheduler: Process,
) -> list[tuple[float, int, float]]:
    """See `Storm.over_time`."""
    over_time: list[tuple[float, int, float]] = []
    while not over_time or over_time[-1][1] < n:
        in_redis, left_ms = int(redis.zcard(queue)), int(redis.pttl(keys.LEADER))
        over_time.append((time.time() - due, in_redis, left_ms / 1000))
        if over_time[-1][0] > LIMIT_S:
            raise RuntimeError(f"{in_redis} of {n} after {LIMIT_S:g} s:\n{scheduler.output[-2000:]}")
        time.sleep(LOOK_EVERY_S)
    return over_time


@dataclass(frozen=True, slots=True)
class _Marked:
    marked_s: float
    committed: list[tuple[float, int]]


def _wait_marked(ours: Ours, n: int) -> _Marked:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = ours.rows(
            "SELECT count(*) FILTER (WHERE state = 'queued') AS queued, extract(epoch FROM max(queued_at))::float8 AS marked_s"  # noqa: S608  # a constant
            " FROM " + _RUNS
        )[0]
        if row.queued == n:
            break
        time.sleep(0.05)
    committed = ours.rows(
        "SELECT extract(epoch FROM enqueued_at - due_at)::float8 AS s, count(*) AS n"  # noqa: S608  # a constant
        " FROM " + _RUNS + " GROUP BY 1 ORDER BY 1"
    )
    return _Marked(row.marked_s or 0.0, [(each.s, each.n) for each in committed])


def _wrong(ours: Ours, n: int) -> str:
    row = ours.rows(
        "SELECT count(*) AS runs, count(DISTINCT schedule_id) AS schedules, count(DISTINCT due_at) AS dues,"  # noqa: S608  # a constant
        " count(*) FILTER (WHERE state = 'queued') AS queued, (SELECT count(*) FROM schedules WHERE version IS NULL) AS left"
        " FROM " + _RUNS
    )[0]
    right = (row.runs, row.schedules, row.dues, row.queued, row.left) == (n, n, 1, n, 0)
    return "" if right else f"of {n}: {row._asdict()}"


def _more(before: dict[float, int], after: dict[float, int]) -> dict[float, int]:
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}
