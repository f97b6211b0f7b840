"""Schedules as operators edit them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from scheduler_svc import pausing
from scheduler_svc.firing import Firing
from scheduler_svc.rows import from_epoch
from scheduler_svc.schedules import Schedules
from shared.core.errors import BadInput
from shared.core.schedule import DateTrigger, ScheduleSpec, TriggerSpec, cron, every
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


def _spec(schedule_id: str = "a", trigger: TriggerSpec | None = None) -> ScheduleSpec:
    return ScheduleSpec(id=schedule_id, job="ping", trigger=trigger or every("5m"))


def test_what_was_added_is_listed_readably_and_audited(engine: Engine, books: Books) -> None:
    notices: list[str] = []
    schedules = Schedules(engine, lambda: notices.append("schedules"))
    schedules.add(_spec("b", cron("0 2 * * *", "Europe/Berlin")), actor="ann")
    schedules.add(_spec("a"), actor="ann")
    a, b = schedules.list()
    assert (a.id, a.store, a.source, a.job) == ("a", "maintenance", "operator", "ping")
    assert a.next_run_time is not None
    assert str(b.trigger) == "0 2 * * * (Europe/Berlin)"
    assert books.schedule("b").job_state == {
        "job": "ping",
        "args": {"sleep_s": 0.0},
        "trigger": {"type": "cron", "expression": "0 2 * * *", "zone": "Europe/Berlin"},
    }
    assert [(r.actor, r.action, r.subject_id) for r in books.run("SELECT * FROM audit_log ORDER BY id")] == [
        ("ann", "added", "b"),
        ("ann", "added", "a"),
    ]
    assert len(notices) == 2


def test_an_id_that_exists_in_any_store_is_refused_with_the_fix(schedules: Schedules) -> None:
    schedules.add(_spec("a"), actor="ann")
    elsewhere = ScheduleSpec(id="a", job="process_pending_refunds", trigger=every("5m"))
    with pytest.raises(BadInput, match=r"there is a schedule a already.*replace"):
        schedules.add(elsewhere, actor="ann")


def test_many_are_added_as_one_by_one_each_with_its_audit_record(books: Books, schedules: Schedules) -> None:
    asked = [_spec(f"s{n:04}", every("5m") if n % 2 else cron("0 2 * * *")) for n in range(1500)]
    assert schedules.add_many(iter(asked), actor="ann") == 1500
    schedules.add(_spec("alone"), actor="ann")
    alone, one = books.schedule("alone"), books.schedule("s0001")
    assert one.job_state["trigger"]["every_s"] == alone.job_state["trigger"]["every_s"]
    assert one.job_state["trigger"]["start"] is not None
    assert one.next_run_time is not None
    assert {
        name for name in one._fields if (getattr(one, name) is None) != (getattr(alone, name) is None)
    } == set()
    audited = books.run(
        "SELECT detail FROM audit_log WHERE subject_id IN ('s0001', 'alone') ORDER BY subject_id"
    )
    assert set(audited[0].detail) == set(audited[1].detail)


def test_many_with_one_that_cannot_be_accepted_add_none(books: Books, schedules: Schedules) -> None:
    schedules.add(_spec("there"), actor="ann")
    with pytest.raises(BadInput, match="there is a schedule there already"):
        schedules.add_many([_spec("new"), _spec("there")], actor="ann")
    with pytest.raises(BadInput, match="schedule odd: job: there is no job 'nope'"):
        schedules.add_many(
            [_spec("new"), ScheduleSpec(id="odd", job="nope", trigger=every("5m"))], actor="ann"
        )
    assert [row.id for row in books.run("SELECT id FROM schedules")] == ["there"]


@pytest.mark.parametrize("call", ["get", "pause", "resume", "remove", "reset", "preview", "job_and_args"])
def test_an_unknown_id_is_named(schedules: Schedules, call: str) -> None:
    actor = {} if call in ("get", "preview", "job_and_args") else {"actor": "ann"}
    with pytest.raises(BadInput, match="no schedule 'nope'"):
        getattr(schedules, call)("nope", **actor)


def test_an_edit_commits_what_was_due_before_it(books: Books, schedules: Schedules) -> None:
    books.add("a", due_in_s=-130, overlap="allow")
    generation = books.schedule("a").generation
    schedules.add(_spec("a", every("1h")), actor="ann", replace=True)
    assert books.fires("a") == 3
    row = books.schedule("a")
    assert row.generation > generation
    assert row.next_run_time > row.now


def test_an_edit_mends_a_broken_schedule_and_keeps_the_fire_it_owes(
    engine: Engine, books: Books, schedules: Schedules
) -> None:
    books.add("a", due_in_s=-10, state={"job": "nope"})
    firing = Firing(engine, JOBS, bound_s=5)
    firing.fire_due()
    assert schedules.get("a").broken
    schedules.add(_spec("a"), actor="ann", replace=True)
    firing.fire_due()
    assert not schedules.get("a").broken
    assert books.fires("a") == 1


@pytest.mark.rule(23)
def test_a_paused_schedule_does_not_fire_and_resuming_counts_what_was_missed_as_one_skipped_run(
    engine: Engine, books: Books, schedules: Schedules
) -> None:
    books.add("a", due_in_s=30)
    view = schedules.pause("a", actor="ann", reason="audit")
    assert (view.paused, view.paused_by, view.pause_reason, view.next_run_time) == (
        True,
        "ann",
        "audit",
        None,
    )
    books.run("UPDATE schedules SET paused_from = paused_from - 200")  # the pause goes on for a while
    assert Firing(engine, JOBS, bound_s=5).fire_due().due == 0
    view = schedules.resume("a", actor="ann")
    [run] = books.runs("a")
    assert (run.state, run.reason, run.coalesced) == ("skipped", "paused", 2)
    assert not view.paused
    assert view.next_run_time == run.due_at + timedelta(minutes=1)


@pytest.mark.rule(23)
def test_a_pause_that_missed_nothing_leaves_no_run_and_the_old_next_time(
    books: Books, schedules: Schedules
) -> None:
    books.add("a", due_in_s=30)
    was = schedules.get("a").next_run_time
    schedules.pause("a", actor="ann")
    schedules.pause("a", actor="bob")
    assert schedules.get("a").paused_by == "ann"
    assert schedules.resume("a", actor="ann").next_run_time == was
    assert books.runs("a") == []
    with pytest.raises(BadInput, match="not paused"):
        schedules.resume("a", actor="ann")


@pytest.mark.rule(23)
def test_a_one_shot_whose_date_passed_during_its_pause_is_skipped_and_gone(
    books: Books, schedules: Schedules
) -> None:
    schedules.add(_spec("a", DateTrigger(at=datetime(2030, 1, 1, tzinfo=UTC))), actor="ann")
    schedules.pause("a", actor="ann")
    books.run("UPDATE schedules SET paused_from = 1.7e9")
    assert schedules.resume("a", actor="ann").next_run_time is None
    assert [run.reason for run in books.runs("a")] == ["paused"]
    assert books.schedule("a") is None


def test_a_paused_schedule_that_is_edited_stays_paused(books: Books, schedules: Schedules) -> None:
    books.add("a", due_in_s=30)
    schedules.pause("a", actor="ann")
    books.run("UPDATE schedules SET paused_from = paused_from - 200")
    view = schedules.add(_spec("a", cron("0 0 1 1 *")), actor="ann", replace=True)
    assert (view.paused, view.next_run_time) == (True, None)
    assert books.fires("a") == 3
    schedules.resume("a", actor="ann")
    assert books.fires("a") == 3


@pytest.mark.rule(23)
def test_a_fire_that_a_pause_drops_while_an_edit_is_under_way_is_counted_as_well(
    books: Books, schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an edit of a paused schedule that has counted what was missed, and then the next fire passes, it counts anew."""
    books.add("a", due_in_s=30, trigger={"type": "interval", "every_s": 1})
    schedules.pause("a", actor="ann")
    books.run("UPDATE schedules SET paused_from = extract(epoch FROM now()) - 0.5")
    began = from_epoch(books.schedule("a").paused_from)
    count = pausing.missed_by

    def count_too_soon(row: Any, jobs: Any) -> Any:
        monkeypatch.setattr(pausing, "missed_by", count)
        missed: Any = count(row, jobs)
        wait_until(lambda: from_epoch(books.schedule("a").now) > missed.next, what="the next fire")
        return missed

    monkeypatch.setattr(pausing, "missed_by", count_too_soon)
    schedules.add(_spec("a", every("1h")), actor="ann", replace=True)
    [run] = books.runs("a")
    assert run.due_at + timedelta(seconds=1) > run.enqueued_at
    assert run.due_at == began + timedelta(seconds=run.coalesced)


def test_preview_tells_the_next_fires(schedules: Schedules) -> None:
    fires = schedules.preview(_spec("a", cron("0 2 * * *")), 3)
    assert [fire.hour for fire in fires] == [2, 2, 2]
    assert fires[2] - fires[0] == timedelta(days=2)
    schedules.add(_spec("a"), actor="ann")
    assert schedules.preview("a", 2)[0] == schedules.get("a").next_run_time
    once = DateTrigger(at=datetime(2030, 1, 1, tzinfo=UTC))
    assert schedules.preview(_spec("b", once), 3) == [once.at]


def test_a_trigger_that_never_fires_is_refused(schedules: Schedules) -> None:
    with pytest.raises(BadInput):
        schedules.add(_spec("a", cron("0 0 30 2 *")), actor="ann")


def test_what_a_manual_run_needs(schedules: Schedules) -> None:
    schedules.add(ScheduleSpec(id="a", job="ping", args={"sleep_s": 2}, trigger=every("5m")), actor="ann")
    assert schedules.job_and_args("a") == ("ping", {"sleep_s": 2.0})


def test_the_last_run_is_shown(engine: Engine, books: Books, schedules: Schedules) -> None:
    books.add("a", due_in_s=-1)
    Firing(engine, JOBS, bound_s=5).fire_due()
    last = schedules.get("a").last_run
    assert last is not None
    assert (last.id, last.state) == (books.runs("a")[0].id, "pending")


def test_pages_hold_every_schedule_once_and_end_with_the_removed_ones(
    books: Books, schedules: Schedules
) -> None:
    schedules.add_many([_spec(f"s{n}") for n in range(7)], actor="ann")
    books.run("UPDATE schedules SET version = 1 WHERE id = 's3'")
    schedules.remove("s3", actor="ann")
    pages = [schedules.page(limit=3)]
    while len(pages[-1]) == 3:
        pages.append(schedules.page(after=pages[-1][-1].id, limit=3))
    assert [[view.id for view in page] for page in pages] == [["s0", "s1", "s2"], ["s4", "s5", "s6"], ["s3"]]
    assert pages[-1][0].removed_by == "ann"
