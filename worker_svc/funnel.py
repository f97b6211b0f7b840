"""One funnel for every run: decode and validate its arguments, handle it under a time-out, decide, record."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from pydantic import ValidationError

from shared.core.decide import clean_text, decide_unknown_job
from shared.core.errors import PauseQueue, PermanentError
from shared.core.jobspec import JobSpec, Overlap, describe
from shared.core.outcomes import Cancel, Decision
from shared.db import pauses
from shared.db.ledger import ClaimedRun
from shared.failpoints import Point, failpoint
from shared.jobs import JOBS
from worker_svc.attempts import Attempt, Attempts, Stop
from worker_svc.context import Handler, JobContext, Services, log_of
from worker_svc.decisions import decide_for
from worker_svc.endings import Ending, tell
from worker_svc.lanes import Lanes
from worker_svc.recorder import Recorder
from worker_svc.verdict import Ended, verdict

log = structlog.get_logger(__name__)

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
        self._lanes = Lanes(self._execute)
        self._wakes: set[asyncio.Task[None]] = set()  # the loop itself keeps none alive

    def start(self, attempt: Attempt, handled: Callable[[], None], ended: Callable[[], None]) -> None:
        """Begins work on a claimed run; from here on heartbeat and drain know it.

        `handled` is called once the handler needs no slot any more, `ended` once the outcome is recorded as well.
        """
        self._attempts.add(attempt)
        self._lanes.add(attempt, handled, ended)

    async def _execute(
        self, attempt: Attempt, handled: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        """From a claim to its recorded outcome. A stop cancels this task while the handler works, and only then."""
        began = time.monotonic()

        def leave() -> None:
            # It goes on, and soon another attempt may too: no provider call of this one starts any more.
            attempt.left_behind = True
            attempt.lease.lose()
            log_of(attempt.run).error("handler_ignores_cancellation")
            handled()
            self._end(attempt, verdict(attempt.run, attempt.stopped, None), began, ended)

        try:
            decision = await self._decide(attempt, leave)
        except Exception:
            log_of(attempt.run).exception("funnel_failed")
            decision = None
        if not attempt.left_behind:
            handled()
            self._end(attempt, decision, began, ended)

    async def _decide(self, attempt: Attempt, leave: Callable[[], None]) -> Decision | None:
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
        context = JobContext(run, attempt.lease, self._services)
        ended = await _handle(handler, context, args, attempt, spec.timeout.total_seconds(), leave)
        decision = verdict(run, attempt.stopped, ended)
        if ended.error is None or decision is None or attempt.left_behind:
            return decision
        if isinstance(ended.error, PauseQueue):
            return await self._pause(run, ended.error, decision)
        if not decision.free:
            log_of(run).warning("handler_raised", error=decision.error, exc_info=ended.error)
        return decision

    def _end(
        self, attempt: Attempt, decision: Decision | None, began: float, ended: Callable[[], None]
    ) -> None:
        ending = Ending(attempt, decision, began, partial(self._close, ended))
        try:
            failpoint(Point.RUN_DECIDED)
            if decision is not None:
                return self._recorder.record(ending)
            tell([ending])
        except Exception:
            log_of(attempt.run).exception("funnel_failed")
        self._close(ended, ending)

    def _close(self, ended: Callable[[], None], ending: Ending) -> None:
        attempt = ending.attempt
        if attempt.run.overlap == Overlap.QUEUE or attempt.stopped is Stop.HAND_BACK:
            # The schedule's next fire, or another worker, need not wait a second.
            wake = asyncio.create_task(self._wake_and_forget(attempt, ended))
            self._wakes.add(wake)
            wake.add_done_callback(self._wakes.discard)
        else:
            self._forget(attempt, ended)

    async def _wake_and_forget(self, attempt: Attempt, ended: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(WAKE_S):
                await self._wake_relay()
        except TimeoutError:
            pass
        except Exception:
            log_of(attempt.run).exception("funnel_failed")
        finally:
            self._forget(attempt, ended)

    def _forget(self, attempt: Attempt, ended: Callable[[], None]) -> None:
        self._attempts.remove(attempt)
        ended()

    async def _pause(self, run: ClaimedRun, error: PauseQueue, decision: Decision) -> Decision:
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
        except (Exception, asyncio.CancelledError):
            # Cancelled by what the handler entered and did not leave, a time-out say: its slot is not kept for that.
            log_of(run).exception("queue_not_paused", queue=run.queue, cause=error.kind.value)
            return decision._replace(delay_s=error.probe_after_s)
        if began:
            log_of(run).error("queue_paused", queue=run.queue, cause=error.kind.value, reason=str(error))
        return decision


async def _handle(
    handler: Handler,
    context: JobContext,
    args: object,
    attempt: Attempt,
    timeout_s: float,
    leave: Callable[[], None],
) -> Ended:
    """How the handler ended; one that does not end although it was told to is left to `leave`, and judged there."""
    if attempt.stopped is not None:
        return Ended(error=asyncio.CancelledError())
    task = asyncio.current_task()
    assert task is not None
    attempt.watch(task, leave, ends_at=asyncio.get_running_loop().time() + timeout_s)
    try:
        ended = Ended(await handler(context, args))
    except BaseException as error:  # SystemExit would end the whole process, and the neighbours with it
        if isinstance(error, GeneratorExit) and not _runs(task):
            raise  # nobody raised it: the loop is gone, and this coroutine is closed
        if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
            error = RuntimeError(f"the handler raised {type(error).__name__}")
        ended = Ended(error=error)
    finally:
        attempt.ended()
    if task.cancelling():  # a stop, or the handler cancelled its own task: what follows is not cancelled
        while task.cancelling():
            task.uncancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # what was asked for and not delivered yet comes here
    return ended


def _runs(task: "asyncio.Task[Any]") -> bool:
    """Whether the event loop is in this task now."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs
        return False


def _complaint(error: Exception, spec: JobSpec[Any]) -> str:
    return (
        describe(error, spec.args)
        if isinstance(error, ValidationError)
        else f"{type(error).__name__}: {error}"
    )
