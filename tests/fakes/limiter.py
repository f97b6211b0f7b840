"""A limiter without Redis, on the event loop's clock."""

import asyncio
import time

from shared.core.errors import RateLimited
from shared.ports import RateLimiter


class FakeRateLimiter(RateLimiter):
    """Passes the same contract as the real one (tests/contracts)."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.slowed: list[tuple[str, float]] = []
        self._next: dict[str, float] = {}

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        now = time.monotonic()
        at = max(now, self._next.get(name, 0.0))
        if at - now > timeout_s:
            raise RateLimited(f"{name}: no turn within the time to wait", retry_after_s=at - now)
        self._next[name] = at + 1 / rate_per_s
        self.turns.append(name)
        await asyncio.sleep(at - now)

    async def slow_down(self, name: str, for_s: float) -> None:
        self.slowed.append((name, for_s))
        self._next[name] = max(self._next.get(name, 0.0), time.monotonic() + for_s)
