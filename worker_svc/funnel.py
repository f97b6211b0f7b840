"""One funnel for every run: decode and validate its arguments, handle it under a time-out, decide, record."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import get_args

import structlog
from pydantic import JsonValue
from structlog.stdlib import BoundLogger

from shared.core.decide import decide_handed_back, decide_unknown_job
from shared.core.errors import Fenced, PauseQueue, PermanentError
from shared.core.jobspec import Overlap
from shared.core.outcomes import Cancel, Decision, Done, Outcome, Recorded
from shared.db import pauses
from shared.jobs import JOBS
from worker_svc import metrics
from worker_svc.attempts import Attempt, Attempts, Stop
from worker_svc.context import Handler, JobContext, Services
from worker_svc.decisions import decide_for
from worker_svc.recorder import Recorder

log = structlog.get_logger(__name__)

#: How long a handler that was told to stop may take to unwind before it is left behind.
UNWIND_S = 5.0
MAX_RESULT_BYTES = 16_384
_OUTCOMES = get_args(Outcome)


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
            ours = True if decision is None else await self._recorder.record(attempt, decision)
            self._report(attempt, decision, ours, time.monotonic() - began, logger)
            if run.overlap == Overlap.QUEUE or attempt.stopped is Stop.HAND_BACK:
                await (
                    self._wake_relay()
                )  # the schedule's next fire, or another worker, need not wait a second
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
        except ValueError as error:  # pydantic's ValidationError among them
            return decide_for(run, PermanentError(f"the arguments cannot be read: {error}"))
        context = JobContext(run, attempt.lease, self._services, logger)
        task: asyncio.Task[object] = asyncio.create_task(
            _call(handler, context, args), name=f"{run.job}:{run.id}"
        )
        attempt.watch(task)
        await self._wait(task, attempt, spec.timeout.total_seconds())
        return await self._judge(task, attempt, logger)

    async def _wait(self, task: "asyncio.Task[object]", attempt: Attempt, timeout_s: float) -> None:
        if attempt.stopped is None:
            await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            attempt.stop(Stop.TIMEOUT)
            await asyncio.wait({task}, timeout=UNWIND_S)

    async def _judge(
        self, task: "asyncio.Task[object]", attempt: Attempt, logger: BoundLogger
    ) -> Decision | None:
        if attempt.stopped is Stop.LOST:
            return None
        if not task.done() or task.cancelled():
            return self._interrupted(attempt, task.done(), logger)
        error = task.exception()
        if error is None:
            return self._returned(attempt, task.result())
        if isinstance(error, Fenced):
            logger.info("run_fenced", error=str(error))
            return None
        if isinstance(error, PauseQueue):
            await self._pause(attempt, error, logger)
        decision = decide_for(attempt.run, error)
        if not decision.free:
            logger.warning("handler_raised", error=decision.error, exc_info=error)
        return decision

    def _returned(self, attempt: Attempt, value: object) -> Decision | None:
        if isinstance(value, Recorded):
            return None
        if not isinstance(value, _OUTCOMES):
            return decide_for(
                attempt.run, PermanentError(f"the handler returned {type(value).__name__}, not an outcome")
            )
        if isinstance(value, Done):
            value = Done(_storable(value.result))
        return decide_for(attempt.run, value)

    def _interrupted(self, attempt: Attempt, unwound: bool, logger: BoundLogger) -> Decision | None:
        run = attempt.run
        if not unwound:
            logger.error("handler_ignores_cancellation")
        match attempt.stopped:
            case Stop.CANCEL:
                return decide_for(run, Cancel("cancelled on request"))
            case Stop.HAND_BACK:
                return decide_handed_back()
            case Stop.TIMEOUT:
                return decide_for(
                    run, TimeoutError(f"ran longer than the job's limit of {JOBS[run.job].timeout}")
                )
            case _:
                return decide_for(run, RuntimeError("the handler cancelled itself"))

    async def _pause(self, attempt: Attempt, error: PauseQueue, logger: BoundLogger) -> None:
        async with self._services.database.begin() as connection:
            began = await pauses.pause_queue_for(
                connection,
                attempt.run.queue,
                error.kind,
                reason=str(error),
                probe_after_s=error.probe_after_s,
            )
        if began:
            logger.error("queue_paused", queue=attempt.run.queue, cause=error.kind.value, reason=str(error))

    def _report(
        self, attempt: Attempt, decision: Decision | None, ours: bool, seconds: float, logger: BoundLogger
    ) -> None:
        run = attempt.run
        state = (
            "lost"
            if not ours or attempt.stopped is Stop.LOST
            else "recorded"
            if decision is None
            else decision.state.value
        )
        metrics.RUNS.labels(run.job, state).inc()
        metrics.DURATION.labels(run.job).observe(seconds)
        logger.info(
            "run_ended",
            state=state,
            seconds=round(seconds, 4),
            error=None if decision is None else decision.error,
        )


async def _call(handler: Handler, context: JobContext, args: object) -> object:
    return await handler(context, args)


def _storable(result: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The work is done: a result that cannot be kept must not undo it."""
    try:
        size = len(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError) as error:
        return {"result_not_kept": str(error)}
    return (
        dict(result)
        if size <= MAX_RESULT_BYTES
        else {"result_not_kept": f"{size} bytes are more than {MAX_RESULT_BYTES}"}
    )
