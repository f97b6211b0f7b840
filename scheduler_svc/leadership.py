"""Holding the lock: a thread renews it while the event loop is alive, and says when it is lost."""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from scheduler_svc.leader_lock import LeaderLock
from shared.core.trust import Grant, Step, Trust
from shared.failpoints import Point, failpoint

log = structlog.get_logger(__name__)


class NotLeading(Exception):
    """This process may no longer act as leader."""


class Leadership:
    """One grant of the lock, from `acquire` that began at `granted_at` until it is lost or ended.

    `lost` is set, on the event loop, with `why`.
    """

    def __init__(self, lock: LeaderLock, granted_at: float) -> None:
        self.lost = asyncio.Event()
        self.why = ""
        self._lock = lock
        self._trust = Trust(lock.ttl_s, granted_at)
        self._loop = asyncio.get_running_loop()
        self._ticked_at = time.monotonic()
        self._ticker: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leader-renewal", daemon=True)

    def begin(self) -> None:
        self._tick()
        self._thread.start()

    @property
    def trusted(self) -> bool:
        """Whether this process may act as leader. From any thread."""
        return not self._ended.is_set() and self._trust.holds(time.monotonic())

    def check(self) -> None:
        """From any thread. Raises NotLeading."""
        if not self.trusted:
            raise NotLeading("the leader lock is no longer known to be ours")

    async def end(self) -> None:
        """Stops renewing and releases the lock, with a notice to the standbys."""
        self._ended.set()
        if self._ticker is not None:
            self._ticker.cancel()
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._thread.join()
        self._lock.release()

    def _tick(self) -> None:
        self._ticked_at = time.monotonic()
        self._ticker = self._loop.call_later(self._lock.ttl_s / 12, self._tick)

    def _renew(self) -> None:
        attempted_at = self._trust.granted_at
        while not self._ended.wait(self._lock.ttl_s / 24):
            now = time.monotonic()
            match self._trust.step(now, self._ticked_at, attempted_at):
                case Step.WAIT:
                    continue
                case Step.STEP_DOWN:
                    asked = attempted_at > self._trust.granted_at  # else nothing was asked: we stood still
                    self._lose("unanswered" if asked else "loop_stalled")
                    return
                case Step.RENEW:
                    attempted_at = now
                    failpoint(Point.LEADER_RENEWING)
                    grant = self._lock.renew()
                    self._trust = self._trust.after_attempt(grant, now)
                    if grant is Grant.REFUSED:
                        self._lose("refused")
                        return
                    if grant is Grant.UNKNOWN:
                        log.warning(
                            "leader_renewal_unanswered", trusted_for_s=self._trust.until - time.monotonic()
                        )

    def _lose(self, why: str) -> None:
        def tell() -> None:
            self.why = why
            self.lost.set()

        _call_soon(self._loop, tell)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed: nobody is left to tell
        return
