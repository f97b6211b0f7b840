"""What becomes of a run, from how its handler ended and why it was stopped."""

import asyncio
from typing import NamedTuple, get_args

from shared.core.decide import decide_handed_back
from shared.core.errors import PauseQueue, PermanentError
from shared.core.outcomes import Cancel, Decision, Outcome, Recorded
from shared.db.ledger import ClaimedRun
from shared.jobs import JOBS
from worker_svc.attempts import Stop
from worker_svc.decisions import decide_for

_OUTCOMES = get_args(Outcome)


class Ended(NamedTuple):
    """How a handler ended: with a value, or with an error."""

    value: object = None
    error: BaseException | None = None


def verdict(run: ClaimedRun, stopped: Stop | None, ended: Ended | None) -> Decision | None:
    """None: nothing is to be written, because the handler did, or because the run was lost.

    Without `ended` the handler is still running: it was told to stop and did not.
    """
    if stopped is Stop.LOST:
        return None
    if ended is not None and not isinstance(ended.error, asyncio.CancelledError):
        if ended.error is None:
            return _returned(run, ended.value)
        # What a handler raises because it was told to stop says less than the reason for stopping it.
        if stopped is None or isinstance(ended.error, (PermanentError, PauseQueue)):
            return decide_for(run, ended.error)
    return _interrupted(run, stopped)


def _returned(run: ClaimedRun, value: object) -> Decision | None:
    if isinstance(value, Recorded):
        return None
    if not isinstance(value, _OUTCOMES):
        return decide_for(run, PermanentError(f"the handler returned {type(value).__name__}, not an outcome"))
    try:
        return decide_for(run, value)
    except Exception as error:  # an instant without time zone, an error that is no text
        return decide_for(
            run,
            PermanentError(
                f"the handler's {type(value).__name__} cannot be used: {type(error).__name__}: {error}"
            ),
        )


def _interrupted(run: ClaimedRun, stopped: Stop | None) -> Decision:
    match stopped:
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
