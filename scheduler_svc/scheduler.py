"""APScheduler's scheduler, with its order of "submit, then update" replaced: a wake-up starts a firing pass in a thread.

APScheduler keeps the stores and the timer; `_process_jobs`, which loses or doubles fires, is never called.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from sqlalchemy import Engine

from scheduler_svc.firing import POLL_S, Pass
from scheduler_svc.stores import JsonJobStore, NoStore
from shared.core.jobspec import Queue

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.1
#: Work flows again within 5 s of an outage: more than one wait has to fit into that.
RETRY_CAP_S = 2.0
#: A pass that hangs longer than this at the end of a term is left behind: it may not commit any more.
CLOSE_TIMEOUT_S = 2.0


class LedgerScheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler ships no types
    """Runs `fire` whenever a fire is due, and at least once a second; `passed` gets what a pass did, or its error."""

    def __init__(
        self, engine: Engine, fire: Callable[[], Pass], passed: Callable[[Pass | Exception], None]
    ) -> None:
        self._fire = fire
        self._passed = passed
        self._pass: asyncio.Task[None] | None = None
        self._again = False
        self._retry_s = RETRY_FIRST_S
        self._context = contextvars.copy_context()  # whoever wakes us up, logs name the term
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="firing")
        super().__init__(
            jobstores={queue.value: JsonJobStore(engine, queue) for queue in Queue},
            timezone=UTC,
            event_loop=asyncio.get_running_loop(),
        )

    def wakeup(self) -> None:
        """Looks at once, or once more where a pass is under way. Safe to call from any thread."""
        loop = self._eventloop
        if loop is not None:
            loop.call_soon_threadsafe(self._begin_pass)

    async def close(self) -> None:
        """Lets a pass that is under way end; no other begins."""
        running, self._pass = self._pass, None
        if self.running:
            self.shutdown(wait=False)
            await asyncio.sleep(0)
        if running is not None:
            await asyncio.wait([running], timeout=CLOSE_TIMEOUT_S)
        self._thread.shutdown(wait=False)

    def _begin_pass(self) -> None:
        if self.state != STATE_RUNNING:
            return
        self._again = True
        if self._pass is None or self._pass.done():
            loop = asyncio.get_running_loop()
            self._pass = loop.create_task(self._passes(), name="firing", context=self._context)

    async def _passes(self) -> None:
        wait_s = 0.0
        while self._again or wait_s <= 0:
            self._again = False
            if self.state != STATE_RUNNING:
                return
            self._stop_timer()
            try:
                wait_s = await self._one_pass()
            except Exception:  # of whoever is told: without its timer the scheduler would be alive and idle
                log.exception("firing_pass_failed")
                wait_s = RETRY_CAP_S
        if self.state == STATE_RUNNING:
            self._start_timer(wait_s)

    async def _one_pass(self) -> float:
        outcome: Pass | Exception
        try:
            run = self._context.copy().run
            outcome = await asyncio.get_running_loop().run_in_executor(self._thread, run, self._fire)
        except Exception as error:
            # An outage, or the end of the term: whoever started us decides, we keep trying.
            outcome, wait_s = error, self._retry_s
            self._retry_s = min(RETRY_CAP_S, self._retry_s * 2)
        else:
            wait_s, self._retry_s = min(POLL_S, outcome.wait_s), RETRY_FIRST_S
        self._passed(outcome)
        return wait_s

    def _create_default_jobstore(self) -> Any:
        return NoStore()
