"""An event loop that knows how long it stood still."""

import asyncio
import selectors
import time

from prometheus_client import Histogram

STALLS = Histogram(
    "cuebx_event_loop_stall_seconds",
    "Stretches of over 10 ms in which the event loop looked at no socket and no timer.",
    buckets=(0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 3, 10),
)
#: Shorter ones are work.
SHORTEST_S = 0.01


class _StallWatch(selectors.DefaultSelector):
    """Between two selects the loop runs callbacks; and where a select ends late, somebody else had the interpreter."""

    def __init__(self) -> None:
        super().__init__()
        self._returned_at = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        asked_at = time.monotonic()
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        now = time.monotonic()
        overslept = 0.0 if timeout is None else max(0.0, now - asked_at - max(0.0, timeout))
        stall = asked_at - self._returned_at + overslept
        if stall > SHORTEST_S:
            STALLS.observe(stall)
        self._returned_at = now
        return found


def watched_loop() -> asyncio.AbstractEventLoop:
    """A loop factory for `asyncio.Runner`."""
    return asyncio.SelectorEventLoop(_StallWatch())
