"""Outcomes and decisions are values."""

from dataclasses import fields
from typing import get_args

import pytest

from shared.core.outcomes import Cancel, Decision, Done, Outcome, Recorded, Retry, Snooze
from shared.core.states import RunState


def test_a_handler_can_say_five_things() -> None:
    assert set(get_args(Outcome)) == {Done, Retry, Snooze, Cancel, Recorded}


@pytest.mark.parametrize("value", [Done(), Retry("no"), Cancel("no"), Decision(RunState.DEAD)])
def test_they_are_immutable(value: object) -> None:
    names = getattr(value, "_fields", None) or [each.name for each in fields(value)]  # type: ignore[arg-type]  # a dataclass
    with pytest.raises(AttributeError):  # FrozenInstanceError is one
        setattr(value, names[0], None)


def test_two_done_outcomes_do_not_share_a_result() -> None:
    assert Done().result == {}
    assert Done().result is not Done().result


def test_a_decision_costs_its_attempt_unless_it_says_otherwise() -> None:
    assert not Decision(RunState.PENDING).free
