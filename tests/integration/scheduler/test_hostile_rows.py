"""Rows that nobody should have written stop neither firing nor their neighbours."""

import json
from collections.abc import Callable

import pytest

from scheduler_svc.firing import Firing
from scheduler_svc.schedules import Schedules
from shared.db.engine import sync_engine
from shared.jobs import JOBS
from tests.integration.scheduler.books import EVERY_MINUTE, Books


@pytest.mark.parametrize("when", ["NaN", "Infinity"])
def test_a_next_run_time_that_never_comes_makes_nobody_spin(books: Books, firing: Firing, when: str) -> None:
    books.add("odd")
    books.run("UPDATE schedules SET next_run_time = CAST(:when AS float8)", when=when)
    assert firing.fire_due().wait_s == 1.0


def test_a_next_run_time_before_all_time_is_broken(books: Books, firing: Firing) -> None:
    books.add("odd")
    books.run("UPDATE schedules SET next_run_time = '-Infinity'")
    firing.fire_due()
    assert "is no time" in books.schedule("odd").broken


@pytest.mark.parametrize("digits", [-9, 0, 3])
def test_a_fire_between_two_seconds_fires_however_the_server_spells_a_double(
    books: Books, database_url: str, digits: int
) -> None:
    """Given a database that answers with fewer digits than a double has, as those of old configurations do, then what was
    read is what is compared."""
    name = books.engine.url.database
    books.run(f'ALTER DATABASE "{name}" SET extra_float_digits = {digits}')
    books.add("a")
    books.run("UPDATE schedules SET next_run_time = 1764343288.123457")
    engine = sync_engine(database_url, application="fewer digits", bound_s=5)
    assert Firing(engine, JOBS, bound_s=5).fire_due().schedules == 1
    engine.dispose()


@pytest.mark.parametrize("when", ["infinity", "-infinity", "20000-01-01"])
def test_a_run_at_that_python_cannot_hold_does_not_stop_firing(
    books: Books, firing: Firing, when: str
) -> None:
    books.add_run()
    books.run("UPDATE job_runs SET run_at = CAST(:when AS timestamptz)", when=when)
    books.add("well")
    assert firing.fire_due().runs == 1


@pytest.mark.rule(21)
@pytest.mark.parametrize(
    "odd", [{"job": "x" * 1_000_000}, {"trigger": {"type": "cron", "expression": "x" * 1_000_000}}]
)
def test_what_is_said_about_a_broken_row_is_short_however_large_the_row_is(
    books: Books, firing: Firing, odd: dict[str, object]
) -> None:
    books.add("odd")
    state = json.dumps({"job": "ping", "args": {}, "trigger": EVERY_MINUTE, **odd})
    books.run("UPDATE schedules SET job_state = CAST(:state AS jsonb)", state=state)
    firing.fire_due()
    assert 0 < len(books.schedule("odd").broken) <= 4000
    [view] = Schedules(books.engine).list()
    assert view.broken == books.schedule("odd").broken


def huge_number() -> str:
    return "1" + "0" * 5000


def deep_list(depth: int) -> Callable[[], str]:
    return lambda: "[" * depth + "]" * depth


@pytest.mark.rule(21)
@pytest.mark.parametrize("value", [huge_number, deep_list(300), deep_list(900), deep_list(3000)])
def test_a_job_state_that_python_cannot_read_is_broken_and_the_others_fire(
    books: Books, firing: Firing, value: Callable[[], str]
) -> None:
    books.add("odd")
    books.add("well")
    state = json.dumps({"job": "ping", "args": {"x": "VALUE"}, "trigger": EVERY_MINUTE})
    books.run(
        "UPDATE schedules SET job_state = CAST(:state AS jsonb) WHERE id = 'odd'",
        state=state.replace('"VALUE"', value()),
    )
    firing.fire_due()
    firing.fire_due()
    assert books.fires("well") == 1
    odd = books.schedule("odd")
    assert odd.broken or books.fires("odd") == 1


ODD_TRIGGERS = {
    "a date outside of the calendar": {"type": "date", "at": "0001-01-01T00:00:00+14:00"},
    "a start outside of the calendar": {**EVERY_MINUTE, "start": "9999-12-31T23:59:59-14:00"},
    "a number of thousands of digits": {"type": "cron", "expression": "1" * 5000 + " * * * *"},
}


@pytest.mark.rule(21)
@pytest.mark.parametrize("trigger", ODD_TRIGGERS.values(), ids=ODD_TRIGGERS)
def test_a_trigger_that_no_calendar_holds_is_broken_and_the_others_fire(
    books: Books, firing: Firing, trigger: dict[str, object]
) -> None:
    books.add("odd", trigger=trigger)
    books.add("well")
    assert firing.fire_due().runs == 1
    assert len(books.schedule("odd").broken) < 300


@pytest.mark.rule(21)
@pytest.mark.parametrize("grace", ["NaN", "1e300"])
def test_a_misfire_grace_that_is_no_time_is_broken_and_the_others_fire(
    books: Books, firing: Firing, grace: str
) -> None:
    books.add("odd", misfire_grace_s=float(grace))
    books.add("well")
    assert firing.fire_due().runs == 1
    assert "misfire_grace_s" in books.schedule("odd").broken
