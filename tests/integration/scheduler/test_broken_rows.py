"""A row that cannot fire is broken, shown and tried again; no other row waits for it."""

import pytest
from sqlalchemy import Engine

from scheduler_svc.firing import Firing
from scheduler_svc.schedules import Schedules
from scheduler_svc.sync import mend_broken
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books


@pytest.mark.rule(21)
@pytest.mark.parametrize(
    "state",
    [
        {"nonsense": 1},
        "text",
        {"job": "nobody-knows", "args": {}, "trigger": {"type": "interval", "every_s": 60}},
        {"job": "ping", "args": {"sleep_s": "soon"}, "trigger": {"type": "interval", "every_s": 60}},
        {"job": "ping", "args": {}, "trigger": {"type": "cron", "expression": "61 * * * *"}},
        {"job": "ping", "args": {}, "trigger": {"type": "hourly"}},
    ],
)
def test_a_row_that_cannot_be_read_leaves_the_due_index_and_is_shown_not_deleted(
    books: Books, firing: Firing, schedules: Schedules, state: object
) -> None:
    books.add("bad", due_in_s=-1, state=state)
    books.add("good", due_in_s=-1)
    was = books.schedule("bad").next_run_time
    firing.fire_due()
    row = books.schedule("bad")
    assert (row.next_run_time, row.broken_due) == (None, was)
    assert row.broken
    assert schedules.get("bad").broken == row.broken
    assert len(books.runs("good")) == 1
    assert firing.fire_due().due == 0


@pytest.mark.rule(21)
def test_a_broken_row_is_tried_again_at_the_next_term_and_loses_no_fire(
    engine: Engine, books: Books, firing: Firing
) -> None:
    books.add(
        "a", due_in_s=-130, state={"job": "later", "args": {}, "trigger": {"type": "interval", "every_s": 60}}
    )
    firing.fire_due()
    assert mend_broken(engine, JOBS) == []
    knows = {**JOBS, "later": JOBS["ping"]}
    assert mend_broken(engine, knows) == ["a"]
    Firing(engine, knows, bound_s=5).fire_due()
    assert books.fires("a") == 3


@pytest.mark.parametrize("next_run_time", ["-Infinity", "1e300", "-1e300"])
def test_a_time_that_is_none_breaks_its_row_and_no_other(
    books: Books, firing: Firing, next_run_time: str
) -> None:
    books.add("bad")
    books.run("UPDATE schedules SET next_run_time = CAST(:t AS float8)", t=next_run_time)
    books.add("good", due_in_s=-1)
    firing.fire_due()
    assert len(books.runs("good")) == 1
    assert books.runs("bad") == []


@pytest.mark.rule(9)
def test_a_row_that_the_database_refuses_is_broken_and_its_neighbours_fire(
    books: Books, firing: Firing
) -> None:
    books.run("ALTER TABLE job_runs ADD CONSTRAINT no_bad CHECK (schedule_id <> 'bad')")
    for name in ("before", "bad", "after"):
        books.add(name, due_in_s=-1)
    firing.fire_due()
    assert (len(books.runs("before")), len(books.runs("after"))) == (1, 1)
    assert "no_bad" in books.schedule("bad").broken
