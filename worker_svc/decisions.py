"""Binds the pure decisions to a claimed run and its job's policy."""

import random

from shared.core.decide import decide_error, decide_outcome
from shared.core.outcomes import Decision, Done, Outcome
from shared.db.ledger import ClaimedRun
from shared.jobs import JOBS
from worker_svc.results import storable


def decide_for(run: ClaimedRun, outcome: Outcome | BaseException) -> Decision:
    """What becomes of this run, of a known job, after what its handler returned or raised."""
    policy = JOBS[run.job].retry
    if isinstance(outcome, BaseException):
        return decide_error(outcome, run.attempt, run.max_attempts, policy, random.random)
    if isinstance(outcome, Done) and outcome.result != {}:
        outcome = Done(storable(outcome.result))
    return decide_outcome(outcome, run.attempt, run.max_attempts, policy, random.random)
