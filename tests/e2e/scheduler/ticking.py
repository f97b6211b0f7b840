"""A schedule that fires four times a second, and two processes that stand for leader."""

from collections.abc import Callable

from tests.e2e.scheduler_process import SchedulerProcess
from tests.integration.scheduler.books import Books
from tests.wait import wait_until

TTL_S = 1.5
EVERY_S = 0.25
Start = Callable[..., SchedulerProcess]


def pair(start: Start) -> tuple[SchedulerProcess, SchedulerProcess]:
    leader = start()
    leader.wait_for("term_began")
    standby = start()
    wait_until(standby.ready, timeout=60)
    return leader, standby


def runs(books: Books) -> int:
    return len(books.runs("tick"))


def every_fire_has_one_run(books: Books) -> None:
    """In one snapshot: a leader may be firing meanwhile."""
    [seen] = books.run(
        "SELECT max(s.next_run_time) AS upcoming, count(*) AS runs, count(DISTINCT r.due_at) AS due_ats,"
        " sum(1 + r.coalesced) AS fires, extract(epoch FROM min(r.due_at))::float8 AS earliest,"
        " (array_agg(r.coalesced ORDER BY r.due_at))[1] AS before"
        " FROM schedules s JOIN job_runs r ON r.schedule_id = s.id WHERE s.id = 'tick'"
    )
    assert seen.due_ats == seen.runs
    assert seen.fires == round((seen.upcoming - seen.earliest) / EVERY_S) + seen.before
