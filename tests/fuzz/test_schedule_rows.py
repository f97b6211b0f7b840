"""A row of a job store may hold anything: it fires, or it is broken and says why; its neighbours fire either way."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_svc.firing import Firing
from scheduler_svc.schedules import Schedules
from scheduler_svc.stores import JsonJobStore
from scheduler_svc.sync import mend_broken
from shared.core.errors import BadInput
from shared.core.jobspec import Queue
from shared.db.engine import sync_engine
from shared.jobs import JOBS
from tests.fuzz import odd
from tests.fuzz.effort import fuzzed
from tests.integration.scheduler.books import Books

NAN, INFINITY = float("nan"), float("inf")


def triggers() -> st.SearchStrategy[Any]:
    seconds = st.sampled_from(
        [60, 0.1, 0.1000001, 0.099, 0, -1, 1e-300, 1e300, 316224000.0, 316224001, "60", True]
    )
    instant = odd.instants()
    interval = {"type": st.just("interval"), "every_s": seconds | odd.numbers()}
    cron = {"type": st.just("cron"), "expression": odd.cron_expressions()}
    return (
        st.fixed_dictionaries(interval, optional={"start": instant | st.none(), "x": odd.json()})
        | st.fixed_dictionaries(cron, optional={"zone": odd.zones()})
        | st.fixed_dictionaries({"type": st.just("date"), "at": instant})
        | odd.json()
    )


def states() -> st.SearchStrategy[Any]:
    known = st.sampled_from(sorted(JOBS))
    args = st.just({}) | odd.json() | st.fixed_dictionaries({"sleep_s": odd.json()})
    args |= st.fixed_dictionaries(
        {"tolerance": odd.numbers() | st.sampled_from(["P999999999D", "-P1D", "PT0S"])}
    )
    return (
        st.fixed_dictionaries({"job": known | odd.text(), "args": args, "trigger": triggers()}) | odd.json()
    )


def policies() -> st.SearchStrategy[dict[str, Any]]:
    grace = (
        st.none() | st.sampled_from([NAN, INFINITY, -INFINITY, 0.0, -1.0, 1e-300, 1e14, 1e300]) | st.floats()
    )
    catching_up = st.booleans().flatmap(
        lambda yes: st.fixed_dictionaries(
            {
                "catch_up": st.just(yes),
                "overlap": st.sampled_from([None, "queue"] if yes else [None, "skip", "allow"]),
            }
        )
    )
    return st.builds(lambda a, b: {**a, "misfire_grace_s": b}, catching_up, grace)


#: When the odd row is due, in seconds since 1970: within the last weeks, or at no time of any calendar.
WHENS = st.sampled_from([0.0, -1.0, -62135596800.0, -62135596801.0, -1e11, -1e300, -INFINITY]) | st.floats(
    min_value=1.7e9, max_value=1.79e9
)


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    engine = sync_engine(database_url, application="test", bound_s=10)
    yield Books(engine)
    engine.dispose()


@fuzzed(150)
@given(state=states(), policy=policies(), when=WHENS, paused=st.booleans())
def test_whatever_a_schedule_row_holds_it_fires_or_says_why_not_and_its_neighbour_fires(
    books: Books, state: Any, policy: dict[str, Any], when: float, paused: bool
) -> None:
    plant(books, state, policy, when)
    firing = Firing(books.engine, JOBS, bound_s=5)
    for _ in range(3):
        assert 0 <= firing.fire_due().wait_s <= 1
    assert books.fires("well") == 1
    row = books.schedule("odd")
    if row is None:
        assert books.runs("odd"), "it left without a trace"
    elif row.broken:
        assert (row.broken_due, row.next_run_time) == (pytest.approx(when), None)
        assert "\n" not in row.broken
        assert not books.runs("odd")
    else:
        assert books.runs("odd") or "odd" in firing._counting
    mend_broken(books.engine, JOBS)
    look_at_everything(books)
    edit_and_remove(books, paused)


def plant(books: Books, state: Any, policy: dict[str, Any], when: float) -> None:
    for table in ("schedules", "job_runs", "pauses"):
        books.run(f"DELETE FROM {table}")
    books.add("odd", state={"replaced": 0}, **policy)
    books.run(
        "UPDATE schedules SET next_run_time = :when, job_state = CAST(:state AS jsonb)",
        when=when,
        state=json.dumps(state),
    )
    books.add("well")


def look_at_everything(books: Books) -> None:
    """What an operator's commands and APScheduler's own methods do; complaints are about the odd one, by name."""
    schedules = Schedules(books.engine)
    assert {view.id for view in schedules.list()} >= {"well"}
    for view in schedules.list():
        with suppress(BadInput):
            assert all(isinstance(at, datetime) for at in schedules.preview(view.id))
    for store in Queue:
        JsonJobStore(books.engine, store)._get_jobs()


def edit_and_remove(books: Books, paused: bool) -> None:
    schedules = Schedules(books.engine)
    if books.schedule("odd") is None:
        return
    if paused and books.schedule("odd").next_run_time is None:
        schedules.pause("odd", actor="test")
        with suppress(BadInput):
            schedules.resume("odd", actor="test")
    if books.schedule("odd") is not None:
        schedules.remove("odd", actor="test")
    assert [view.id for view in schedules.list()] == ["well"]
