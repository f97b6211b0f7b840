"""One funnel for every run: decode and validate its arguments, handle it under a time-out, decide, record."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from pydantic import ValidationError
from structlog.stdlib import BoundLogger

from shared.core.decide import clean_text, decide_unknown_job
from shared.core.errors import PauseQueue, PermanentError
from shared.core.jobspec import JobSpec, Overlap, describe
from shared.core.outcomes import Cancel, Decision
from shared.db import pauses
from shared.db.ledger import ClaimedRun
from shared.failpoints import Point, failpoint
from shared.jobs import JOBS
from worker_svc import metrics
from worker_svc.attempts import Attempt, Attempts, Stop
from worker_svc.context import Handler, JobContext, Services
from worker_svc.decisions import decide_for
from worker_svc.recorder import Recorder
from worker_svc.verdict import verdict

log = structlog.get_logger(__name__)

#: How long a handler that was told to stop may take to unwind before it is left behind.
UNWIND_S = 5.0
#: How long a run's slot may wait for Redis after the run: the relay looks once a second by itself.
WAKE_S = 0.5


class Funnel:
    """Runs attempts. Its tasks never raise: what a handler does wrong ends in the ledger."""

    def __init__(
        self,
        services: Services,
        handlers: Mapping[str, Handler],
        recorder: Recorder,
        attempts: Attempts,
        wake_relay: Callable[[], Awaitable[None]],
    ) -> None:
        self._services = services
        self._handlers = handlers
        self._recorder = recorder
        self._attempts = attempts
        self._wake_relay = wake_relay

    def start(self, attempt: Attempt) -> "asyncio.Task[None]":
        """Begins work on a claimed run; from here on heartbeat and drain know it."""
        self._attempts.add(attempt)
        return asyncio.create_task(self._execute(attempt), name=f"{attempt.run.id}:{attempt.run.attempt}")

    async def _execute(self, attempt: Attempt) -> None:
        """From a claim to its recorded outcome."""
        run = attempt.run
        logger = log.bind(run_id=str(run.id), job=run.job, attempt=run.attempt, schedule_id=run.schedule_id)
        began = time.monotonic()
        try:
            decision = await self._decide(attempt, logger)
            failpoint(Point.RUN_DECIDED)
            ours = decision is not None and await self._recorder.record(attempt, decision)
            _report(attempt, decision, ours, time.monotonic() - began, logger)
            if run.overlap == Overlap.QUEUE or attempt.stopped is Stop.HAND_BACK:
                # The schedule's next fire, or another worker, need not wait a second.
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAKE_S):
                        await self._wake_relay()
        except Exception:
            logger.exception("funnel_failed")
        finally:
            self._attempts.remove(attempt)

    async def _decide(self, attempt: Attempt, logger: BoundLogger) -> Decision | None:
        """None: nothing is to be written, because the handler did, or because the run was lost."""
        run = attempt.run
        spec, handler = JOBS.get(run.job), self._handlers.get(run.job)
        if spec is None or handler is None:
            return decide_unknown_job(run.job)
        if run.cancel_requested:
            attempt.lease.cancel_requested.set()
            if spec.cancellable:
                return decide_for(run, Cancel("cancelled on request"))
        try:
            args = spec.decode(run.args)
        except Exception as error:  # ValidationError, or what a validator of the job's own raises
            return decide_for(run, PermanentError(f"the arguments cannot be read: {_complaint(error, spec)}"))
        context = JobContext(run, attempt.lease, self._services, logger)
        task: asyncio.Task[object] = asyncio.create_task(
            _call(handler, context, args), name=f"{run.job}:{run.id}"
        )
        attempt.watch(task)
        await self._wait(task, attempt, spec.timeout.total_seconds(), logger)
        decision = verdict(run, attempt.stopped, task)
        raised = task.exception() if task.done() and not task.cancelled() else None
        if raised is None or decision is None:
            return decision
        if isinstance(raised, PauseQueue):
            return await self._pause(run, raised, decision, logger)
        if not decision.free:
            logger.warning("handler_raised", error=decision.error, exc_info=raised)
        return decision

    async def _wait(
        self, task: "asyncio.Task[object]", attempt: Attempt, timeout_s: float, logger: BoundLogger
    ) -> None:
        """Until the handler has ended; or was told to stop, by others or by its time-out, and had time to unwind."""
        either: set[asyncio.Future[Any]] = {task, attempt.stopping}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return
        attempt.stop(Stop.TIMEOUT)
        await asyncio.wait({task}, timeout=UNWIND_S)
        if not task.done():
            # It goes on, and soon another attempt may too: no provider call of this one starts any more.
            attempt.lease.lose()
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            logger.error("handler_ignores_cancellation")

    async def _pause(
        self, run: ClaimedRun, error: PauseQueue, decision: Decision, logger: BoundLogger
    ) -> Decision:
        """Pauses the run's queue. Where that fails the run itself waits as long, and finds out again."""
        try:
            async with self._services.database.begin() as connection:
                began = await pauses.pause_queue_for(
                    connection,
                    run.queue,
                    error.kind,
                    reason=clean_text(str(error)),
                    probe_after_s=error.probe_after_s,
                )
        except Exception:
            logger.exception("queue_not_paused", queue=run.queue, cause=error.kind.value)
            return replace(decision, delay_s=error.probe_after_s)
        if began:
            logger.error("queue_paused", queue=run.queue, cause=error.kind.value, reason=str(error))
        return decision


def _report(
    attempt: Attempt, decision: Decision | None, ours: bool, seconds: float, logger: BoundLogger
) -> None:
    job = attempt.run.job
    if decision is not None and ours:
        state = decision.state.value
    else:
        state = "recorded" if decision is None and attempt.stopped is not Stop.LOST else "lost"
    metrics.RUNS.labels(job if job in JOBS else "unknown", state).inc()
    metrics.DURATION.labels(job if job in JOBS else "unknown").observe(seconds)
    error = None if decision is None else decision.error
    logger.info("run_ended", state=state, seconds=round(seconds, 4), error=error)


def _complaint(error: Exception, spec: JobSpec[Any]) -> str:
    return (
        describe(error, spec.args)
        if isinstance(error, ValidationError)
        else f"{type(error).__name__}: {error}"
    )


async def _call(handler: Handler, context: JobContext, args: object) -> object:
    try:
        return await handler(context, args)
    except (SystemExit, KeyboardInterrupt) as error:
        # In a task these end the whole process, and the neighbours with it.
        raise RuntimeError(f"the handler raised {type(error).__name__}") from error
