"""With all rules the invariants hold, whatever happens between any two steps."""

import itertools
import os
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Chaos, wander

#: `make model` sets them: take so many steps, beginning with this walk.
STEPS = int(os.environ.get("MODEL_STEPS", "20000"))
SEED = int(os.environ.get("MODEL_SEED", "0"))
CHAOS = settings(
    derandomize=True,
    max_examples=30,
    stateful_step_count=60,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_invariants_hold_in_every_interleaving_that_hypothesis_thinks_of() -> None:
    run_state_machine_as_test(Chaos, settings=CHAOS)


@pytest.mark.timeout(3600)
def test_the_invariants_hold_in_every_random_walk(record_property: Callable[[str, object], None]) -> None:
    steps = walks = 0
    for seed in itertools.count(SEED):
        steps, walks = steps + wander(seed).steps, walks + 1
        if steps >= STEPS:
            break
    told = f"{steps} steps in {walks} walks, from seed {SEED} on: every invariant held"
    record_property("model", told)
    sys.stdout.write(told + "\n")
