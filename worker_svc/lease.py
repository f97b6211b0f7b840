"""What a worker may believe about its own lease, on the monotonic clock (rules 1 and 7)."""

import asyncio
import time
from collections.abc import Callable
from functools import cached_property

from shared.core.errors import LeaseExpired


class Lease:
    """The lease of one attempt. Trusted until the moment its last renewal was *asked for*, plus its length."""

    def __init__(
        self, asked_at: float, lease_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._lease_s = lease_s
        self._trusted_until = asked_at + lease_s
        self._lost = False

    @cached_property
    def cancel_requested(self) -> asyncio.Event:
        """Set when somebody asks. Made when first looked at: of most runs nobody does."""
        return asyncio.Event()

    def renewed(self, asked_at: float) -> None:
        """A heartbeat that was sent at `asked_at` (monotonic seconds) was answered."""
        self._trusted_until = max(self._trusted_until, asked_at + self._lease_s)

    def lose(self) -> None:
        """Another attempt owns the run."""
        self._lost = True

    @property
    def remaining_s(self) -> float:
        """Seconds for which the lease can be trusted; 0 when it cannot."""
        return 0.0 if self._lost else max(0.0, self._trusted_until - self._monotonic())

    def check(self, needed_s: float = 0.0) -> None:
        """Call it before each provider call. Raises LeaseExpired unless `needed_s` more than nothing is left."""
        if self.remaining_s <= needed_s:
            raise LeaseExpired("the lease can no longer be trusted: another worker may have this run")
