"""A storm can be repeated: its plan comes from its seed alone."""

from collections import Counter

import pytest

from tests.chaos.storm.fault_plan import MENDS
from tests.chaos.storm.plan import draw

MINUTES_S = 600.0
ENDS = {
    "kill": "start",
    "terminate": "start",
    "arm": "disarm",
    "stop postgres": "start postgres",
    "stop valkey": "start valkey",
}


def test_the_same_seed_gives_the_same_plan() -> None:
    assert draw(7, MINUTES_S) == draw(7, MINUTES_S)
    assert list(map(str, draw(7, MINUTES_S))) == list(map(str, draw(7, MINUTES_S)))


def test_another_seed_gives_another_plan() -> None:
    assert list(map(str, draw(7, MINUTES_S))) != list(map(str, draw(8, MINUTES_S)))


def test_a_plan_is_in_order_and_ends_in_time() -> None:
    times = [step.at_s for step in draw(3, MINUTES_S)]
    assert times == sorted(times)
    assert times[-1] <= MINUTES_S


@pytest.mark.parametrize("seed", range(5))
def test_what_breaks_for_a_time_is_mended_within_the_storm(seed: int) -> None:
    kinds = Counter(step.kind for step in draw(seed, MINUTES_S) if step.lane == "fault")
    for broken, mended in ENDS.items():
        assert kinds[mended] == sum(kinds[each] for each, end in ENDS.items() if end == mended), broken
    assert kinds["thaw"] == kinds["freeze"] + kinds["arm"]


@pytest.mark.parametrize("seed", range(5))
def test_a_queue_that_a_person_pauses_is_resumed_within_twenty_seconds(seed: int) -> None:
    steps = draw(seed, MINUTES_S)
    pauses = [step for step in steps if step.kind == "pause queue"]
    assert pauses
    for pause in pauses:
        assert any(
            step.kind == "resume queue"
            and step.params == pause.params
            and pause.at_s <= step.at_s <= pause.at_s + 20.001
            for step in steps
        ), pause


def test_a_long_storm_has_every_kind_of_fault_and_of_work() -> None:
    steps = draw(1, MINUTES_S)
    assert len({step.kind for step in steps if step.lane == "fault"} - MENDS) == 12
    assert len({step.kind for step in steps if step.lane == "work"}) == 22
