"""Which fires run, and that every fire is accounted for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.firing import (
    BEYOND_CATCH_UP,
    CATCH_UP_BOUND,
    MISFIRE,
    PlannedRun,
    Tally,
    TriggerStuck,
    count_fires,
    kept_for,
    plan_fires,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)


@dataclass
class Every:
    """An interval, counted by arithmetic or, as a crontab is, step by step."""

    every: timedelta
    walk: bool = False
    last: datetime | None = None

    @property
    def period(self) -> timedelta | None:
        return None if self.walk else self.every

    def after(self, previous: datetime) -> datetime | None:
        upcoming = previous + self.every
        return None if self.last is not None and upcoming > self.last else upcoming


def _tally(times: Every, now: datetime, *, catch_up: bool = False, budget: int = 10**9) -> Tally:
    tally, _ = count_fires(times, START, now, keep=kept_for(catch_up=catch_up), budget=budget)
    return tally


@pytest.mark.parametrize("walk", [False, True])
def test_one_run_stands_for_all_missed_fires(walk: bool) -> None:
    plan = plan_fires(
        _tally(Every(10 * S, walk), START + 35 * S), START + 35 * S, catch_up=False, misfire_grace_s=None
    )
    assert plan.runs == (PlannedRun(START + 30 * S, coalesced=3),)
    assert plan.next == START + 40 * S


@pytest.mark.parametrize(("late_s", "skipped"), [(5, None), (6, MISFIRE)])
def test_a_fire_later_than_its_grace_is_skipped(late_s: int, skipped: str | None) -> None:
    now = START + late_s * S
    plan = plan_fires(_tally(Every(60 * S), now), now, catch_up=False, misfire_grace_s=5)
    assert plan.runs == (PlannedRun(START, 0, skipped),)


@pytest.mark.rule(20)
def test_catching_up_runs_the_latest_thousand_and_skips_the_rest_as_one() -> None:
    now = START + 1500 * S
    plan = plan_fires(_tally(Every(S), now, catch_up=True), now, catch_up=True, misfire_grace_s=None)
    assert plan.runs[0] == PlannedRun(START + 500 * S, coalesced=500, skipped=BEYOND_CATCH_UP)
    assert [run.due_at for run in plan.runs[1:]] == [START + n * S for n in range(501, 1501)]
    assert len(plan.runs) == CATCH_UP_BOUND + 1


def test_catching_up_within_a_grace_skips_what_is_older() -> None:
    now = START + 10 * S
    plan = plan_fires(_tally(Every(S), now, catch_up=True), now, catch_up=True, misfire_grace_s=3)
    assert plan.runs[0] == PlannedRun(START + 6 * S, coalesced=6, skipped=MISFIRE)
    assert [run.due_at for run in plan.runs[1:]] == [START + n * S for n in (7, 8, 9, 10)]


def test_a_trigger_that_ends_has_no_next_fire() -> None:
    tally = _tally(Every(S, walk=True, last=START + 2 * S), START + 9 * S)
    assert (tally.count, tally.next, tally.complete) == (3, None, True)


@pytest.mark.rule(20)
def test_counting_stops_at_the_budget_and_goes_on_from_there() -> None:
    times, now = Every(S, walk=True), START + 25 * S
    tally, cost = count_fires(times, START, now, budget=10)
    assert (tally.count, tally.complete, cost) == (10, False, 10)
    with pytest.raises(ValueError, match="not counted"):
        plan_fires(tally, now, catch_up=False, misfire_grace_s=None)
    tally, _ = count_fires(times, START, now, budget=10, so_far=tally)
    tally, cost = count_fires(times, START, now, budget=10, so_far=tally)
    assert (tally.count, tally.last, tally.complete, cost) == (26, now, True, 6)


@pytest.mark.rule(2)
@pytest.mark.parametrize("step", [0, -1])
def test_a_trigger_that_does_not_move_forward_is_an_error_not_a_loop(step: int) -> None:
    with pytest.raises(TriggerStuck):
        _tally(Every(step * S, walk=True), START + 5 * S)


@pytest.mark.rule(20)
@given(
    every_s=st.integers(1, 50),
    waits=st.lists(st.integers(0, 5000), min_size=1, max_size=6),
    budget=st.integers(1, 700),
    walk=st.booleans(),
    catch_up=st.booleans(),
    grace=st.none() | st.integers(1, 3000),
)
def test_whatever_the_passes_every_fire_is_in_exactly_one_run(
    every_s: int, waits: list[int], budget: int, walk: bool, catch_up: bool, grace: int | None
) -> None:
    """Given passes at any times and any budget, then Σ(1 + coalesced) is the number of fires, and no due time comes twice."""
    times, due, now = Every(every_s * S, walk), START, START
    runs: list[PlannedRun] = []
    for wait in waits:
        now += wait * S
        if due > now:
            continue
        tally: Tally | None = None
        while tally is None or not tally.complete:
            tally, _ = count_fires(
                times, due, now, keep=kept_for(catch_up=catch_up), budget=budget, so_far=tally
            )
        plan = plan_fires(tally, now, catch_up=catch_up, misfire_grace_s=grace)
        runs += plan.runs
        assert plan.next is not None
        assert plan.next > now
        due = plan.next
    assert sum(run.fires for run in runs) == (due - START) // (every_s * S)
    due_ats = [run.due_at for run in runs]
    assert due_ats == sorted(set(due_ats))
