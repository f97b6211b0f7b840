"""With all rules the invariants hold, whatever happens between any two steps."""

import os
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Chaos, wander

#: `make model` sets them: so many walks, beginning with this one. `make test` has enough of them to show that they walk; CI
#: has two thousand in a step of its own.
WALKS = int(os.environ.get("MODEL_WALKS", "100"))
SEED = int(os.environ.get("MODEL_SEED", "0"))
PARTS = 10
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


@pytest.mark.parametrize("part", range(PARTS))
def test_the_invariants_hold_in_every_random_walk(
    part: int, record_property: Callable[[str, object], None]
) -> None:
    """Short walks mostly: what goes wrong after few faults is found soonest by many. Each seventh is a long one."""
    seeds = range(SEED + part, SEED + WALKS, PARTS)
    steps = sum(wander(seed, moves=80 if seed % 7 == 0 else 4 + seed % 16).steps for seed in seeds)
    told = f"{steps} steps in {len(seeds)} walks, from seed {SEED} on: every invariant held"
    record_property("model", told)
    sys.stdout.write(told + "\n")
