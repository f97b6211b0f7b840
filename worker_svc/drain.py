"""The end of a worker: running attempts get the grace time, then go back without costing an attempt."""

import structlog

from shared.failpoints import Point, failpoint
from shared.lifecycle import Component
from worker_svc.attempts import Attempts, Stop

log = structlog.get_logger(__name__)

#: For handlers to unwind and for the recorder to write, after the grace.
HAND_BACK_S = 8.0


class Drain(Component):
    """Stops after the queues and before everything that records."""

    name = "drain"

    def __init__(self, attempts: Attempts, *, grace_s: float) -> None:
        self._attempts = attempts
        self._grace_s = grace_s

    async def stop(self) -> None:
        """Returns when nothing runs any more."""
        running = len(self._attempts)
        if running:
            log.info("draining", runs=running, grace_s=self._grace_s)
        if await self._attempts.ended(self._grace_s):
            return
        log.info("handing_back", runs=len(self._attempts))
        failpoint(Point.DRAIN_HANDING_BACK)
        for attempt in self._attempts:
            attempt.stop(Stop.HAND_BACK)
        if not await self._attempts.ended(HAND_BACK_S):
            log.error("left_behind", runs=[str(attempt.run.id) for attempt in self._attempts])
