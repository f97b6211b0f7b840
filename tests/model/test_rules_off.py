"""Each rule is needed: with it the model holds, without it an invariant breaks."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.cluster import Cluster
from tests.model.interleavings import SCRIPTS
from tests.model.machine import Chaos, Scene
from tests.model.rules import Rules, Violation

#: Found by random search, without a script: the rule, and the invariants that may break first.
SEARCHED = {
    1: "T",
    2: "U",
    3: "T",
    4: "C",
    5: "C",
    8: "T",
    9: "L",
    10: "T",
    11: "T",
    16: "T",
    17: "L",
    19: "U",
    21: "T",
    22: "U",
    23: "L",
    35: "L",
    36: "U",
}
SEARCH = settings(
    derandomize=True,
    max_examples=300,
    stateful_step_count=60,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


@pytest.mark.parametrize("number", sorted(SCRIPTS))
def test_a_spelled_out_interleaving_breaks_an_invariant_only_without_its_rule(number: int) -> None:
    play, invariant = SCRIPTS[number]
    play(Scene(Cluster()))
    with pytest.raises(Violation) as violation:
        play(Scene(Cluster(Rules(frozenset({number})))))
    assert violation.value.invariant == invariant


@pytest.mark.parametrize("number", sorted(SEARCHED))
def test_random_search_breaks_an_invariant_without_the_rule(number: int) -> None:
    class Broken(Chaos):
        protocol = Rules(frozenset({number}))

    with pytest.raises(Violation) as violation:
        run_state_machine_as_test(Broken, settings=SEARCH)
    assert violation.value.invariant in SEARCHED[number]


def test_every_rule_of_the_protocols_core_is_shown_to_be_needed() -> None:
    assert sorted({*SCRIPTS, *SEARCHED}) == [*range(1, 24), 35, 36]
