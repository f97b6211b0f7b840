"""A request limit per fixed window, as the providers count it."""

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
