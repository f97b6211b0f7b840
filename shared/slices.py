"""Long CPU work on an event loop, in slices: refunds, claims and heartbeats come in between (design, section 6)."""

import asyncio
import time
from typing import Final

#: A run is picked up in a handful of steps, each behind a slice at the most.
SLICE_S: Final = 0.001
#: A pass of the event loop that took longer than this had something to do: what follows from it goes first, too,
PASS_S: Final = 0.0002
#: for so many passes.
PASSES: Final = 10


class Slices:
    """Call `breathe` between two small pieces of work; it lets the others in when a slice is over."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._ends_at = time.monotonic() + slice_s

    async def breathe(self) -> None:
        now = time.monotonic()
        if now < self._ends_at:
            return
        for _ in range(PASSES):
            await asyncio.sleep(0)
            before, now = now, time.monotonic()
            if now - before < PASS_S:
                break
        self._ends_at = now + self._slice_s
