"""What another process changes in the schedules is noticed by the leader."""

from sqlalchemy import Engine

from scheduler_svc.notices import schedules_changed
from scheduler_svc.schedules import Schedules
from shared.core.schedule import ScheduleSpec, every
from tests.e2e.scheduler.ticking import Start, runs
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


def test_a_schedule_added_by_another_process_is_noticed_at_once(
    start: Start, engine: Engine, books: Books, redis_url: str
) -> None:
    start().wait_for("term_began")
    schedules = Schedules(engine, schedules_changed(redis_url))
    schedules.add(ScheduleSpec(id="tick", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: runs(books) > 0)
    [first, *_] = books.runs("tick")
    assert (first.enqueued_at - first.due_at).total_seconds() < 0.3


def test_without_a_notice_it_is_noticed_within_about_a_second(
    start: Start, engine: Engine, books: Books
) -> None:
    start().wait_for("term_began")
    Schedules(engine).add(ScheduleSpec(id="tick", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: runs(books) > 0)
    assert books.runs("tick")[0].coalesced <= 14


def test_a_reset_is_served_by_the_leader_without_a_new_term(
    start: Start, engine: Engine, redis_url: str
) -> None:
    start().wait_for("term_began")
    schedules = Schedules(engine, schedules_changed(redis_url))
    wait_until(lambda: len(schedules.list()) == 5)
    schedules.remove("daily_cleanup_job", actor="me")
    schedules.reset("daily_cleanup_job", actor="me")
    # The reset leaves no row: the leader writes it.
    wait_until(
        lambda: [each for each in schedules.list() if each.id == "daily_cleanup_job" and each.next_run_time],
        timeout=3,
    )
