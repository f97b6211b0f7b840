"""How long a leader may trust itself."""

import pytest

from shared.core.trust import Grant, Step, Trust

pytestmark = pytest.mark.rule(16)

TRUST = Trust(ttl_s=12.0, granted_at=100.0)  # renewed every 3 s, margin 2 s, ticks within 4 s


def test_trust_counts_from_the_start_of_the_attempt_and_ends_a_margin_early() -> None:
    assert TRUST.holds(109.9)
    assert not TRUST.holds(110.0)


def test_a_grant_moves_the_deadline_to_its_own_start() -> None:
    assert TRUST.after_attempt(Grant.RENEWED, 103.0).until == 113.0


def test_an_attempt_without_answer_leaves_the_deadline() -> None:
    assert TRUST.after_attempt(Grant.UNKNOWN, 103.0).until == 110.0


def test_a_refusal_ends_the_trust_at_once() -> None:
    assert not TRUST.after_attempt(Grant.REFUSED, 103.0).holds(103.1)


@pytest.mark.parametrize(
    ("now", "ticked_at", "attempted_at", "step"),
    [
        (102.9, 102.9, 100.0, Step.WAIT),
        (103.0, 103.0, 100.0, Step.RENEW),
        (103.5, 103.5, 103.0, Step.WAIT),  # no answer: again after a quarter of that
        (103.8, 103.8, 103.0, Step.RENEW),
        (105.1, 101.0, 100.0, Step.WAIT),  # the event loop is stalled: nothing is renewed
        (110.0, 101.0, 100.0, Step.STEP_DOWN),
        (110.0, 110.0, 109.0, Step.STEP_DOWN),
    ],
)
def test_the_next_step(now: float, ticked_at: float, attempted_at: float, step: Step) -> None:
    assert TRUST.step(now, ticked_at, attempted_at) is step
