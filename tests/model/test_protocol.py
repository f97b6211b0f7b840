"""With all rules the invariants hold, whatever happens between any two steps."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Chaos

#: `make model` sets it: go on until so many steps were taken.
STEPS = int(os.environ.get("MODEL_STEPS", "0"))


def _settings(examples: int, *, derandomize: bool) -> settings:
    return settings(
        derandomize=derandomize,
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_the_invariants_hold_in_every_interleaving_that_was_tried() -> None:
    run_state_machine_as_test(Chaos, settings=_settings(40, derandomize=True))


@pytest.mark.timeout(3600)
def test_they_hold_for_as_many_steps_as_asked_for(record_property: pytest.RecordProperty) -> None:  # type: ignore[name-defined]
    before = Chaos.steps_taken
    while Chaos.steps_taken - before < STEPS:
        run_state_machine_as_test(Chaos, settings=_settings(100, derandomize=False))
    print(f"{Chaos.steps_taken - before} steps")
