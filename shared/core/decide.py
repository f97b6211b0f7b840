"""What becomes of a run, as a pure function of what its handler returned or raised."""

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.core.backoff import RetryPolicy, backoff_s
from shared.core.errors import PauseQueue, PermanentError, RateLimited
from shared.core.mask import mask
from shared.core.outcomes import Cancel, Decision, Done, Outcome, Recorded, Retry, Snooze
from shared.core.states import RunState

#: An unknown job goes back this far into the future, so that old and new workers do not play ping-pong (rule 10).
UNKNOWN_JOB_DELAY_S = 5.0
#: The longest wait that a provider can ask for.
MAX_RETRY_AFTER_S = 86_400.0
#: Errors are kept with the run; a longer one is cut.
MAX_ERROR_CHARS = 4000


def error_text(error: BaseException) -> str:
    """An exception as logs and the ledger keep it: type and message, secrets and addresses masked, storable, cut to size."""
    try:
        said = str(error)
    except Exception:  # it is somebody else's class
        said = "(its text cannot be read)"
    return clean_text(f"{type(error).__name__}: {mask(said)}" if said else type(error).__name__)


def clean_text(text: str) -> str:
    """A text that PostgreSQL stores: no NUL, no lone surrogate, cut to size."""
    text = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_ERROR_CHARS else text[: MAX_ERROR_CHARS - 1] + "…"


def decide_outcome(
    outcome: Outcome, attempt: int, max_attempts: int, policy: RetryPolicy, rand: Callable[[], float]
) -> Decision:
    """The decision for a handler that returned. `Recorded` has none: it is the caller's to notice."""
    match outcome:
        case Done(result):
            return Decision(RunState.SUCCEEDED, result=result)
        case Retry(error, when):
            return _retry(clean_text(error), when, attempt, max_attempts, policy, rand)
        case Snooze(when, reason):
            delay_s, run_at = _when(when)
            return Decision(
                RunState.PENDING, delay_s, run_at, free=True, error=clean_text(reason) if reason else None
            )
        case Cancel(reason):
            return Decision(RunState.CANCELLED, error=clean_text(reason))
        case Recorded():
            raise ValueError("a recorded outcome has nothing left to decide")


def decide_error(
    error: BaseException, attempt: int, max_attempts: int, policy: RetryPolicy, rand: Callable[[], float]
) -> Decision:
    """The decision for a handler that raised, or ran out of time (`TimeoutError`)."""
    text = error_text(error)
    match error:
        case PermanentError():
            return Decision(RunState.DEAD, error=text)
        case RateLimited(retry_after_s=after):
            # What a provider's header says may be no number, or none that a timestamp can hold.
            return Decision(RunState.PENDING, min(max(0.0, after), MAX_RETRY_AFTER_S), free=True, error=text)
        case PauseQueue():
            return Decision(RunState.PENDING, free=True, error=text)
        case _:
            return _retry(text, None, attempt, max_attempts, policy, rand)


def decide_lost_lease(
    losses: int, attempt: int, max_attempts: int, policy: RetryPolicy, rand: Callable[[], float]
) -> Decision:
    """The decision for a run whose lease ran out, now for the `losses`-th time (from 1).

    The first loss is retried at once, later ones with jittered backoff: a poison run and the neighbours it took down
    part ways (rule 13).
    """
    error = f"the worker was lost while running attempt {attempt} (lease expired)"
    if attempt >= max_attempts:
        return Decision(RunState.DEAD, error=error)
    delay = 0.0 if losses <= 1 else backoff_s(policy, losses - 1, rand)
    return Decision(RunState.PENDING, delay, error=error)


def decide_unknown_job(job: str) -> Decision:
    """A job name this worker does not know (rolling deploy) goes back, unharmed."""
    return Decision(
        RunState.PENDING,
        UNKNOWN_JOB_DELAY_S,
        free=True,
        error=f"no worker here knows the job {clean_text(job)!r}",
    )


def decide_handed_back() -> Decision:
    """The worker is stopping: others may have the run at once, at no cost."""
    return Decision(RunState.PENDING, free=True)


def _retry(
    error: str,
    when: datetime | timedelta | None,
    attempt: int,
    max_attempts: int,
    policy: RetryPolicy,
    rand: Callable[[], float],
) -> Decision:
    if attempt >= max_attempts:
        return Decision(RunState.DEAD, error=error)
    # What cost nothing raised `max_attempts` with `attempt`: it is no failure, and makes nobody wait longer.
    # (The row may be of another release's policy, with more attempts or fewer.)
    failures = min(attempt, max(1, policy.max_attempts - (max_attempts - attempt)))
    delay_s, run_at = (backoff_s(policy, failures, rand), None) if when is None else _when(when)
    return Decision(RunState.PENDING, delay_s, run_at, error=error)


def _when(when: datetime | timedelta) -> tuple[float, datetime | None]:
    if isinstance(when, timedelta):
        return max(0.0, when.total_seconds()), None
    if when.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return 0.0, when
