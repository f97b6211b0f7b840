"""Schedules that code defines, and operators' edits of them."""

import dataclasses

import pytest
from sqlalchemy import Engine

from scheduler_svc.builtin import Definition, builtin_schedules
from scheduler_svc.firing import Firing
from scheduler_svc.schedules import Schedules
from scheduler_svc.sync import sync_definitions
from shared.core.errors import BadInput, ConfigError
from shared.core.schedule import IntervalTrigger, ScheduleSpec, every
from shared.jobs import JOBS
from shared.settings import SchedulerSettings
from tests.integration.scheduler.books import Books

pytestmark = pytest.mark.rule(17)


def _definition(every_s: float = 60, version: int = 1, job: str = "ping") -> Definition:
    spec = ScheduleSpec(id="a", job=job, trigger=IntervalTrigger(every_s=every_s))
    return Definition(spec.bound_to(JOBS), version)


def _second(epoch: float) -> object:
    """Equal to within a hundredth of a second."""
    return pytest.approx(epoch, abs=0.01, rel=0)


class Leader:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begins(self, *wanted: Definition) -> list[str]:
        return sync_definitions(self._engine, Firing(self._engine, JOBS, bound_s=5), wanted)


@pytest.fixture
def leader(engine: Engine) -> Leader:
    return Leader(engine)


def test_the_builtin_schedules_are_there_after_the_first_term_begins(
    leader: Leader, books: Books, database_url: str
) -> None:
    settings = SchedulerSettings(database_url=database_url, refunds_every_s=120, cleanup_cron="15 3 * * *")
    written = leader.begins(*builtin_schedules(settings))
    assert sorted(written) == [
        "confirm_reminders_job",
        "daily_cleanup_job",
        "process_pending_refunds_job",
        "reconcile_refunds_job",
        "send_payment_reminder_emails_job",
    ]
    refunds = books.schedule("process_pending_refunds_job")
    assert refunds.store == "refunds"
    assert 115 < refunds.next_run_time - refunds.now <= 120
    assert books.schedule("daily_cleanup_job").job_state["trigger"]["expression"] == "15 3 * * *"
    assert leader.begins(*builtin_schedules(settings)) == []


def test_a_cleanup_cron_that_cannot_be_read_is_named(database_url: str) -> None:
    with pytest.raises(ConfigError, match="CLEANUP_CRON"):
        builtin_schedules(SchedulerSettings(database_url=database_url, cleanup_cron="61 * * * *"))


def test_a_fire_that_is_due_is_committed_under_the_old_definition_first(leader: Leader, books: Books) -> None:
    """APScheduler's replace_existing recomputes the next time from now and loses it."""
    leader.begins(_definition(60))
    books.run("UPDATE schedules SET next_run_time = next_run_time - 200")
    due = books.schedule("a").next_run_time
    leader.begins(_definition(3600, version=2))
    [run] = books.runs("a")
    assert run.coalesced == 2
    assert books.schedule("a").next_run_time == _second(due + 120 + 3600)


def test_a_lower_version_never_overwrites_a_higher_one(leader: Leader, books: Books) -> None:
    leader.begins(_definition(60, version=2))
    assert leader.begins(_definition(30, version=1)) == []
    assert books.schedule("a").job_state["trigger"]["every_s"] == 60
    assert leader.begins(_definition(10, version=3)) == ["a"]


def test_at_the_same_version_the_leaders_settings_win(leader: Leader, books: Books) -> None:
    leader.begins(_definition(60))
    first = books.schedule("a")
    assert leader.begins(_definition(600)) == ["a"]
    changed = books.schedule("a")
    assert changed.next_run_time == _second(first.next_run_time + 540)
    assert changed.generation > first.generation


def test_leaders_with_different_settings_that_take_turns_do_not_put_a_fire_off(
    leader: Leader, books: Books
) -> None:
    leader.begins(_definition(60))
    first = books.schedule("a").next_run_time
    for _ in range(3):
        leader.begins(_definition(90))
        leader.begins(_definition(60))
    assert books.schedule("a").next_run_time == _second(first)


def test_an_operators_edit_outlives_terms_until_it_is_reset(
    leader: Leader, books: Books, schedules: Schedules
) -> None:
    leader.begins(_definition(60))
    schedules.add(ScheduleSpec(id="a", job="ping", trigger=every("7m")), actor="ann", replace=True)
    assert leader.begins(_definition(60)) == []
    assert leader.begins(_definition(60, version=2)) == []
    view = schedules.get("a")
    assert (view.source, view.edited_by, str(view.trigger)) == ("code", "ann", "every 7m")
    schedules.reset("a", actor="ann")
    assert schedules.get("a").reset_requested
    assert leader.begins(_definition(60)) == ["a"]
    view = schedules.get("a")
    assert (view.edited_by, str(view.trigger), view.reset_requested) == (None, "every 1m", False)


def test_an_operators_removal_outlives_terms_and_is_shown_until_it_is_reset(
    leader: Leader, books: Books, schedules: Schedules
) -> None:
    leader.begins(_definition(60))
    schedules.remove("a", actor="ann")
    assert leader.begins(_definition(60, version=2)) == []
    assert books.schedule("a") is None
    assert [(view.id, view.removed_by) for view in schedules.list()] == [("a", "ann")]
    schedules.reset("a", actor="ann")
    assert leader.begins(_definition(60)) == ["a"]
    assert schedules.get("a").removed_by is None


def test_an_operators_pause_outlives_a_changed_definition(
    leader: Leader, books: Books, schedules: Schedules
) -> None:
    leader.begins(_definition(60))
    schedules.pause("a", actor="ann", reason="audit")
    leader.begins(_definition(600))
    view = schedules.get("a")
    assert (view.paused, view.paused_by, view.next_run_time) == (True, "ann", None)
    schedules.resume("a", actor="ann")
    assert books.schedule("a").next_run_time is not None


def test_what_a_pause_dropped_under_the_old_definition_is_recorded_before_the_new_one(
    leader: Leader, schedules: Schedules, books: Books
) -> None:
    leader.begins(_definition(60))
    schedules.pause("a", actor="ann")
    books.run("UPDATE schedules SET paused_from = paused_from - 200")  # the pause goes on for a while
    leader.begins(_definition(3600, version=2))
    [run] = books.runs("a")
    assert (run.state, run.reason, run.coalesced) == ("skipped", "paused", 2)
    assert books.schedule("a").paused_from > books.schedule("a").now
    assert leader.begins(_definition(3600, version=2)) == []
    assert books.fires("a") == 3


def test_reset_drops_a_pause_as_well(leader: Leader, schedules: Schedules) -> None:
    leader.begins(_definition(60))
    schedules.pause("a", actor="ann")
    schedules.reset("a", actor="ann")
    leader.begins(_definition(60))
    assert not schedules.get("a").paused


def test_a_schedule_of_an_operator_under_the_same_id_is_left_alone(
    leader: Leader, schedules: Schedules
) -> None:
    schedules.add(ScheduleSpec(id="a", job="ping", trigger=every("7m")), actor="ann")
    assert leader.begins(_definition(60)) == []
    with pytest.raises(BadInput, match="not defined by code"):
        schedules.reset("a", actor="ann")


def test_a_definition_may_move_to_another_store(leader: Leader, books: Books) -> None:
    leader.begins(_definition(60))
    moved = _definition(60, version=2)
    spec = moved.spec.model_copy(update={"store": JOBS["process_refund"].queue})
    leader.begins(dataclasses.replace(moved, spec=spec))
    assert books.run("SELECT id, store FROM schedule_ids") == [("a", "refunds")]
    assert len(books.run("SELECT * FROM scheduler_refunds_jobs")) == 1
