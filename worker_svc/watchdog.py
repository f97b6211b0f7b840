"""Ends a process whose event loop is stuck: its leases have run out, others have its runs, and nobody restarts a worker
that looks alive."""

import asyncio
import os
import threading
import time

import structlog

from shared.lifecycle import EX_TEMPFAIL, Component

log = structlog.get_logger(__name__)

TICK_S = 1.0  # at most


class Watchdog(Component):
    """A thread that looks whether the loop still ticks. After `limit_s` without, the process exits with status 75."""

    name = "watchdog"

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._tick_s = min(TICK_S, limit_s / 5)
        self._ticked_at = time.monotonic()
        self._stopped = threading.Event()

    async def start(self) -> None:
        self._ticked_at = time.monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    async def run(self) -> None:
        while True:
            self._ticked_at = time.monotonic()
            await asyncio.sleep(self._tick_s)

    async def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._stopped.wait(self._tick_s):
            now = time.monotonic()
            if now - looked_at > self._tick_s * 3:
                # The whole process was stopped (SIGSTOP, a frozen machine): the loop gets its time to tick again.
                self._ticked_at = now
            looked_at = now
            if now - self._ticked_at > self._limit_s:
                log.critical("event_loop_stuck", seconds=round(now - self._ticked_at, 1))
                os._exit(EX_TEMPFAIL)
