"""A million schedules that are due some day: what do they cost those who fire, add and list?"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.bench import Bench
from benchmarks.due import ACTOR, opened
from benchmarks.figures import Figure
from benchmarks.ours import Ours
from benchmarks.process import REPOSITORY, Process
from benchmarks.profiling import watching
from scheduler_svc.schedules import PAGE, Schedules
from shared.core.schedule import DateTrigger, ScheduleSpec

QUESTION = "What do a million schedules cost those who fire, add and list?"
DUE = 100
WAKE_UP_MS, ADDED_PER_S, PAGE_MS, GROWTH_MIB = 60.0, 5000.0, 100.0, 10.0
BULK = 5000
FUTURE = timedelta(days=365)
#: As the public entry point would add them; a million of its own would take minutes and say nothing more.
_FILL = """
INSERT INTO schedules (id, store, next_run_time, job_state)
SELECT 'future-' || n, (ARRAY['maintenance', 'refunds', 'payment_reminders'])[n % 3 + 1], extract(epoch FROM now()) + 86400 + n,
  jsonb_build_object('job', 'ping', 'args', jsonb_build_object('sleep_s', 0.0), 'trigger',
    jsonb_build_object('type', 'date', 'at', to_timestamp(extract(epoch FROM now()) + 86400 + n)))
FROM generate_series(1, CAST(:n AS int)) n
"""


def run(bench: Bench) -> None:
    many, bulk = bench.n(1_000_000, 3000), bench.n(BULK, 500)
    with bench.servers(shared_preload_libraries="pg_stat_statements") as servers, bench.ours(servers) as ours:
        scheduler = ours.start("scheduler")
        before_mib = scheduler.resident_mib()
        ours.rows(_FILL, n=many)
        with opened(ours) as schedules:
            wake_up = _rounds(
                bench, f"wake-up with {DUE} due", lambda: _wake_up(bench, scheduler, schedules), "ms"
            )
            added = _rounds(bench, f"added {bulk:,} at a time", lambda: _add(schedules, bulk), "/s")
            page = _rounds(bench, "first page", lambda: _page(bench, schedules), "ms")
            _pages(bench, schedules)
        growth = bench.figure(
            "the scheduler's memory grew by", [scheduler.resident_mib() - before_mib], "MiB"
        )
        _command(bench, ours)
        with opened(ours) as schedules, watching(bench, ours, scheduler) as profile:
            _wake_up(bench, scheduler, schedules)
            _add(schedules, bulk)
        bench.audit("the scheduler never failed", _failures(scheduler))
    bench.target("wake-up", wake_up.median, "at most", WAKE_UP_MS, "ms")
    bench.target("bulk add", added.median, "at least", ADDED_PER_S, "/s")
    bench.target("first page", page.median, "at most", PAGE_MS, "ms")
    bench.target("memory", growth.median, "at most", GROWTH_MIB, "MiB")
    bench.result.details["profile"] = profile.as_json()
    bench.result.details["bound_by"] = (
        "Waking up is one look into the index of due times (a fifth of a millisecond, whatever else there is) and one transaction"
        " for all that is due, which is most of the time. Adding is bound by PostgreSQL: one statement of three rows each"
        " (schedule, id, audit) with their indexes."
    )


def _rounds(bench: Bench, name: str, measure: Callable[[], float], unit: str) -> Figure:
    return bench.in_turns({name: measure}, unit)[name]


def _wake_up(bench: Bench, scheduler: Process, schedules: Schedules) -> float:
    """From the due time of DUE one-shots until they are all committed, when the leader logs them as fired."""
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    schedules.add_many(_one_shots(f"due-{time.monotonic_ns()}", due, DUE), actor=ACTOR)
    deadline = time.monotonic() + 20
    fired: list[dict[str, Any]] = []
    while sum(each["runs"] for each in fired) < DUE and time.monotonic() < deadline:
        time.sleep(0.05)
        fired = [each for each in scheduler.events("schedules_fired") if each["due_until"] == due.isoformat()]
    runs = sum(each["runs"] for each in fired)
    bench.audit("each that was due fired once", "" if runs == DUE else f"{runs} of {DUE}")
    return (datetime.fromisoformat(fired[-1]["timestamp"]) - due) / timedelta(milliseconds=1)


def _add(schedules: Schedules, count: int) -> float:
    name, due = f"added-{time.monotonic_ns()}", datetime.now(UTC) + FUTURE
    began = time.monotonic()
    added = schedules.add_many(_one_shots(name, due, count), actor=ACTOR)
    return added / (time.monotonic() - began)


def _one_shots(name: str, due: datetime, count: int) -> Iterator[ScheduleSpec]:
    trigger = DateTrigger(at=due)
    return (ScheduleSpec(id=f"{name}-{n}", job="ping", trigger=trigger) for n in range(count))


def _page(bench: Bench, schedules: Schedules) -> float:
    began = time.monotonic()
    page = schedules.page()
    took_s = time.monotonic() - began
    bench.audit("a page is full", "" if len(page) == PAGE else f"{len(page)} of {PAGE}")
    return took_s * 1000


def _pages(bench: Bench, schedules: Schedules) -> None:
    """Pages far from the first cost the same: each goes on from the last id of the one before."""
    took = []
    after = "future-2"
    for _ in range(bench.n(20, 2)):
        began = time.monotonic()
        page = schedules.page(after=after)
        took.append((time.monotonic() - began) * 1000)
        after = page[-1].id
    bench.figure("a page in the middle", [statistics.median(took)], "ms")


def _command(bench: Bench, ours: Ours) -> None:
    """The same page as an operator gets it: a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "schedules", "list", "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
        env={"PATH": "", "DATABASE_URL": ours.database_url, "REDIS_URL": ours.redis_url},
    )  # fmt: skip
    bench.figure("cuebx schedules list", [time.monotonic() - began], "s")
    bench.audit("the command lists", "" if done.returncode == 0 else done.stderr[-300:])


def _failures(scheduler: Process) -> str:
    return "" if not scheduler.events("firing_failed") else "firing_failed in its log"
