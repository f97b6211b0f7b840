"""The jobs of the model: each a way in which work can go, or go wrong. A handler may ask, wait, raise and return outcomes."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.core.backoff import RetryPolicy
from shared.core.errors import PermanentError, RateLimited
from shared.core.jobspec import JobSpec, NoArgs, Overlap, Queue
from shared.core.outcomes import Done, Outcome, Recorded, Snooze

if TYPE_CHECKING:
    from tests.model.attempts import Attempt
    from tests.model.worker import Worker

Handler = Callable[["Worker", "Attempt"], Outcome]
LONG_S = 5.0  # more than a lease
_RETRY = RetryPolicy(max_attempts=5, base_s=0.5, cap_s=4.0)


def _quick(worker: "Worker", attempt: "Attempt") -> Outcome:
    return Done()


def _long(worker: "Worker", attempt: "Attempt") -> Outcome:
    attempt.work(LONG_S)
    return Done()


def _short(worker: "Worker", attempt: "Attempt") -> Outcome:
    attempt.work(0.5)
    return Done()


def _flaky(worker: "Worker", attempt: "Attempt") -> Outcome:
    if attempt.run.attempt < 3:
        raise RuntimeError("not yet")
    return Done()


def _patient(worker: "Worker", attempt: "Attempt") -> Outcome:
    if attempt.run.attempt == 1:
        raise RateLimited("slow down", 0.5)
    return Snooze(timedelta(seconds=0.5)) if attempt.run.attempt == 2 else Done()


def _hopeless(worker: "Worker", attempt: "Attempt") -> Outcome:
    raise PermanentError("never")


def _poison(worker: "Worker", attempt: "Attempt") -> Outcome:
    worker.world.crash(worker)
    return Done()


def _paying(worker: "Worker", attempt: "Attempt") -> Outcome:
    """Notes the attempt, calls a provider, ends the run with the note's settlement in one transaction."""
    worker.write_business_row(attempt)
    attempt.work(0.5)
    worker.call_provider(attempt)
    attempt.work(0.5)
    worker.write_business_row(attempt, Done())
    return Recorded()


HANDLERS: dict[str, Handler] = {
    "quick": _quick,
    "long": _long,
    "short": _short,
    "flaky": _flaky,
    "patient": _patient,
    "hopeless": _hopeless,
    "poison": _poison,
    "paying": _paying,
    "unstorable": _quick,  # what it returns, PostgreSQL refuses: see `Worker.decide`
    "new": _quick,  # known to newer workers only
}

JOBS = {
    name: JobSpec(
        name,
        NoArgs,
        Queue.MAINTENANCE,
        "of the model",
        retry=_RETRY,
        overlap=Overlap.QUEUE if name == "short" else Overlap.SKIP,
    )
    for name in HANDLERS
}
