"""Each rule is needed: with it the model holds, without it an invariant breaks."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.cluster import Cluster
from tests.model.interleavings import SCRIPTS
from tests.model.machine import wander
from tests.model.money.test_refund_rules import SWITCHES as REFUNDS
from tests.model.money.test_reminder_rules import SWITCHES as REMINDERS
from tests.model.rules import Rules, Violation
from tests.model.scene import Scene

#: Found by a random walk: by rule, the invariants that may break first, and the seed from which on to look.
SEARCHED = {
    1: ("TL", 2),
    2: ("UL", 1),
    3: ("T", 8),
    4: ("P", 2),
    5: ("C", 0),
    9: ("L", 2),
    10: ("T", 9),
    11: ("T", 2),
    16: ("T", 1),
    17: ("L", 7),
    19: ("U", 0),
    21: ("T", 2),
    22: ("U", 5),
    23: ("L", 17),
    35: ("L", 2),
    36: ("U", 0),
}
TRIES = 100
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("number", "play", "invariant"),
    SCRIPTS,
    ids=[f"{number}: {play.__name__}" for number, play, _ in SCRIPTS],
)
def test_a_spelled_out_interleaving_breaks_an_invariant_only_without_its_rule(
    number: int, play: Callable[[Scene], None], invariant: str
) -> None:
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


def test_every_rule_of_the_protocol_is_switched_off_somewhere() -> None:
    rules = re.findall(r"^\*\*(\d+)\. ", (DOCS / "protocol.md").read_text(), flags=re.MULTILINE)
    off = {number for number, *_ in SCRIPTS} | {*SEARCHED} | {each.rule for each in [*REFUNDS, *REMINDERS]}
    assert sorted(off) == [int(number) for number in rules]
    assert len(off) == 36
