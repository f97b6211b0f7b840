"""Long CPU work on an event loop, in slices: refunds, claims and heartbeats come in between (design, section 6)."""

import asyncio
import time
from typing import Final

#: A run is picked up in some six steps of the event loop, each behind a slice: with 1 ms, 6 ms at the most.
SLICE_S: Final = 0.001


class Slices:
    """Call `breathe` between two small pieces of work; it lets the others in when a slice is over."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._ends_at = time.monotonic() + slice_s

    async def breathe(self) -> None:
        if time.monotonic() >= self._ends_at:
            await asyncio.sleep(0)
            self._ends_at = time.monotonic() + self._slice_s
