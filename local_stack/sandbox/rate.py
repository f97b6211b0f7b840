"""Request limits: by fixed window, as Brevo counts and tells in its headers, and by token bucket, as Stripe does."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """What the window says of one request; `reset_s` is the time until the next window, rounded up."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


class Bucket:
    """Tokens, as Stripe counts: `rate` a second come in, a second's worth at most is kept; 0 is no limit."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate)
        self._counted_at = clock()

    def has(self) -> bool:
        """Whether there is a token for one more request."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now
        return self._rate == 0 or self._tokens >= 1

    def take(self) -> None:
        self._tokens -= 1


class Window:
    """`limit` requests per `seconds`; 0 is no limit. Refused requests do not count."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._seconds = seconds
        self._clock = clock
        self._started = clock()
        self._used = 0

    def take(self) -> Allowance:
        now = self._clock()
        if now - self._started >= self._seconds:
            self._started += (now - self._started) // self._seconds * self._seconds
            self._used = 0
        allowed = self.limit == 0 or self._used < self.limit
        self._used += allowed
        reset_s = max(1, int(self._started + self._seconds - now + 0.999))
        return Allowance(allowed, self.limit, max(0, self.limit - self._used), reset_s)
