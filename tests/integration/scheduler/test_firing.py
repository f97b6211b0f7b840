"""Schedules that are due become runs, by the database's clock, and move on."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_svc import firing as firing_module
from scheduler_svc import triggers
from scheduler_svc.firing import Firing, Pass
from scheduler_svc.schedules import Schedules
from shared.core.schedule import ScheduleSpec, every
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


def test_a_fire_is_a_run_and_its_schedule_moves_on_in_one_transaction(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-0.5, job="process_pending_refunds", store="refunds")
    before = books.schedule("a")
    done = firing.fire_due()
    [run] = books.runs("a")
    assert (done.schedules, done.runs) == (1, 1)
    assert (run.job, run.queue, run.state, run.priority) == (
        "process_pending_refunds",
        "refunds",
        "pending",
        2,
    )
    assert run.due_at.timestamp() == before.next_run_time
    assert books.schedule("a").next_run_time == before.next_run_time + 60


def test_a_one_shot_is_removed_with_its_fire(books: Books, firing: Firing) -> None:
    books.add("a", trigger={"type": "date", "at": "2020-01-01T00:00:00Z"}, due_in_s=-9)
    firing.fire_due()
    assert len(books.runs("a")) == 1
    assert books.schedule("a") is None
    assert books.run("SELECT * FROM schedule_ids") == []


def test_a_pass_says_when_to_look_again(books: Books, firing: Firing) -> None:
    assert firing.fire_due().wait_s == 1.0
    books.add("a", due_in_s=0.4)
    assert 0 < firing.fire_due().wait_s <= 0.4
    books.add_run(run_at=datetime.now(UTC) + timedelta(seconds=30))
    assert 25 < (firing.fire_due().relay_in_s or 0) <= 30


@pytest.mark.rule(1)
def test_no_host_clock_takes_part_in_firing(
    books: Books, firing: Firing, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "NoClock":
            raise AssertionError("the host's clock was asked")

    for module in (firing_module, triggers):
        monkeypatch.setattr(module, "datetime", NoClock)
    monkeypatch.setattr("time.time", lambda: 0.0)
    books.add("due", due_in_s=-1)
    books.add("not-due", due_in_s=5)
    firing.fire_due()
    assert len(books.runs("due")) == 1
    assert books.runs("not-due") == []


def test_a_flood_in_one_store_does_not_hold_up_another(books: Books, firing: Firing) -> None:
    books.run(
        "INSERT INTO schedules (id, store, next_run_time, job_state) SELECT 'flood-' || n, 'maintenance', 1.7e9 + n,"
        ' \'{"job": "ping", "trigger": {"type": "interval", "every_s": 60}}\' FROM generate_series(1, 2000) n'
    )
    books.add("refund", due_in_s=-0.1, job="process_pending_refunds", store="refunds")
    done: Pass = firing.fire_due()
    assert (done.schedules, done.wait_s) == (firing_module.BATCH, 0.0)
    assert len(books.runs("refund")) == 1


def test_schedules_added_by_an_operator_fire(books: Books, firing: Firing, schedules: Schedules) -> None:
    schedules.add(ScheduleSpec(id="a", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: firing.fire_due() and len(books.runs("a")) == 1)
