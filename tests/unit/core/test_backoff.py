"""When to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.backoff import RetryPolicy, backoff_s

failures = st.integers(min_value=1, max_value=10_000)
rands = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(failures, rands)
def test_with_the_defaults_every_delay_is_between_five_seconds_and_an_hour(n: int, rand: float) -> None:
    assert 5.0 <= backoff_s(RetryPolicy(), n, lambda: rand) <= 3600.0


@given(failures, rands, st.floats(0.001, 1e4), st.floats(1, 1e4))
def test_no_delay_exceeds_the_cap_or_falls_below_half_the_ceiling(
    n: int, rand: float, base: float, factor: float
) -> None:
    policy = RetryPolicy(base_s=base, cap_s=base * factor)
    ceiling = min(policy.cap_s, base * 2.0 ** min(n, 64))
    assert ceiling / 2 <= backoff_s(policy, n, lambda: rand) <= ceiling


@given(failures, rands)
def test_a_later_failure_never_waits_less_for_the_same_luck(n: int, rand: float) -> None:
    policy = RetryPolicy()
    assert backoff_s(policy, n, lambda: rand) <= backoff_s(policy, n + 1, lambda: rand)


def test_the_jitter_tells_runs_that_failed_together_apart() -> None:
    policy = RetryPolicy()
    assert backoff_s(policy, 3, lambda: 0.0) == 20.0
    assert backoff_s(policy, 3, lambda: 0.5) == 30.0


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"base_s": 0.0}, {"base_s": -1.0}, {"base_s": 10.0, "cap_s": 9.0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a retry policy needs"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # integers and floats by name
