"""Each rule is needed: with it the model holds, without it an invariant breaks."""

import pytest

from tests.model.cluster import Cluster
from tests.model.interleavings import SCRIPTS
from tests.model.machine import wander
from tests.model.rules import Rules, Violation
from tests.model.scene import Scene

#: Found by a random walk: by rule, the invariants that may break first, and the seed from which on to look.
SEARCHED = {
    1: ("TL", 2),
    2: ("U", 4),
    3: ("T", 12),
    4: ("CP", 2),
    5: ("C", 0),
    8: ("T", 58),
    9: ("L", 0),
    10: ("T", 8),
    11: ("T", 1),
    16: ("T", 0),
    17: ("L", 2),
    19: ("U", 0),
    21: ("T", 2),
    22: ("U", 1),
    23: ("L", 0),
    35: ("L", 0),
    36: ("U", 0),
}
TRIES = 100


@pytest.mark.parametrize("number", sorted(SCRIPTS))
def test_a_spelled_out_interleaving_breaks_an_invariant_only_without_its_rule(number: int) -> None:
    play, invariant = SCRIPTS[number]
    play(Scene(Cluster()))
    with pytest.raises(Violation) as violation:
        play(Scene(Cluster(Rules(frozenset({number})))))
    assert violation.value.invariant == invariant


@pytest.mark.parametrize("number", sorted(SEARCHED))
def test_a_random_walk_breaks_an_invariant_without_the_rule(number: int) -> None:
    invariants, first = SEARCHED[number]
    for seed in range(first, first + TRIES):
        found = broken(seed, number)
        if found is not None:
            assert found.invariant in invariants, found
            wander(seed)  # and with the rule, all is well
            return
    pytest.fail(f"rule {number} does not matter in {TRIES} walks")


def broken(seed: int, number: int) -> Violation | None:
    try:
        wander(seed, Rules(frozenset({number})))
    except Violation as violation:
        return violation
    return None


def test_every_rule_of_the_protocols_core_is_shown_to_be_needed() -> None:
    assert sorted({*SCRIPTS, *SEARCHED}) == [*range(1, 24), 35, 36]
