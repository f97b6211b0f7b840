"""Attempts that have ended: what is recorded of each, and what logs and metrics tell of it afterwards."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from shared.core.decide import clean_text
from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db.ledger import Finished
from shared.jobs import JOBS
from worker_svc import metrics
from worker_svc.attempts import Attempt, Stop

log = structlog.get_logger(__name__)

#: So many plain successes of a job that were committed together share a line: each one's own would take a fifth of the
#: worker's time.
TOGETHER = 10
#: Longer lines are cut in two by what collects them.
LINE_MOST = 200


class Ending:
    """An attempt whose handler has ended. Without a decision nothing is to be written: the handler did, or the run was lost.

    `closed` is called once the outcome is committed, or never will be.
    """

    __slots__ = ("_closed", "attempt", "began", "decision", "ours")

    def __init__(
        self, attempt: Attempt, decision: Decision | None, began: float, closed: "Callable[[Ending], None]"
    ) -> None:
        self.attempt = attempt
        self.decision = decision
        self.began = began
        #: Whether the run was still this attempt's (rule 6).
        self.ours: bool | None = None
        self._closed = closed

    @property
    def finished(self) -> Finished:
        """As the ledger takes it."""
        assert self.decision is not None
        return Finished(self.attempt.run.id, self.attempt.run.attempt, self.decision)

    @property
    def state(self) -> str:
        """What became of the run, in a word."""
        if self.decision is not None and self.ours:
            return self.decision.state.value
        return "recorded" if self.decision is None and self.attempt.stopped is not Stop.LOST else "lost"

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to tell but that it succeeded."""
        run, decision = self.attempt.run, self.decision
        return (
            decision is not None
            and decision.state is RunState.SUCCEEDED
            and self.ours is True
            and run.attempt == 1
            and run.schedule_id is None
        )

    def answer(self, ours: bool) -> None:
        self.ours = ours
        self._closed(self)

    def park(self, why: str) -> None:
        """Makes it dead, with an error that says what it was."""
        was = self.finished.decision.state.value
        self.decision = Decision(
            RunState.DEAD, error=clean_text(f"the outcome ({was}) could not be stored: {why}")
        )


def tell(endings: Sequence[Ending]) -> None:
    """Counts and logs what was recorded together."""
    now = time.monotonic()
    plain: dict[str, list[Ending]] = defaultdict(list)
    for ending in endings:
        job = ending.attempt.run.job
        if ending.is_plain:
            plain[job].append(ending)
        else:
            metrics.ended(job if job in JOBS else "unknown", ending.state, [now - ending.began])
            _tell_one(ending, now)
    for job, alike in plain.items():
        metrics.ended(job, RunState.SUCCEEDED.value, [now - ending.began for ending in alike])
        if len(alike) < TOGETHER:
            for ending in alike:
                _tell_one(ending, now)
            continue
        for first in range(0, len(alike), LINE_MOST):
            _tell_many(job, alike[first : first + LINE_MOST], now)


def _tell_one(ending: Ending, now: float) -> None:
    run = ending.attempt.run
    log.info(
        "run_ended",
        run_id=str(run.id),
        job=run.job,
        attempt=run.attempt,
        schedule_id=run.schedule_id,
        state=ending.state,
        seconds=round(now - ending.began, 4),
        error=None if ending.decision is None else ending.decision.error,
    )


def _tell_many(job: str, endings: Sequence[Ending], now: float) -> None:
    """First attempts that succeeded, of no schedule. `seconds` is in the order of `run_ids`."""
    log.info(
        "runs_ended",
        job=job,
        state=RunState.SUCCEEDED.value,
        runs=len(endings),
        run_ids=[str(ending.attempt.run.id) for ending in endings],
        seconds=[round(now - ending.began, 4) for ending in endings],
    )
