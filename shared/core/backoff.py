"""When to try again."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, in seconds.

    The n-th failure waits between half of `base_s · 2ⁿ` and all of it, never more than `cap_s`: with the defaults
    between 5 s and 1 h.
    """

    max_attempts: int = 10
    base_s: float = 5.0
    cap_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not 0 < self.base_s <= self.cap_s:
            raise ValueError("a retry policy needs max_attempts >= 1 and 0 < base_s <= cap_s")


def backoff_s(policy: RetryPolicy, failures: int, rand: Callable[[], float]) -> float:
    """Seconds to wait after the `failures`-th failure (from 1); `rand` gives a number in [0, 1)."""
    # 2**n overflows a float near n = 1024; long before that the cap has been reached.
    ceiling = min(policy.cap_s, policy.base_s * 2.0 ** min(failures, 64))
    return ceiling / 2 + rand() * ceiling / 2
