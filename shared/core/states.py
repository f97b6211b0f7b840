"""The life of a run, as data. Beside each state stands who moves it on."""

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    PENDING = "pending"  # committed, due at run_at: the relay moves it on, or the enqueuer's own push
    QUEUED = "queued"  # its message is in Redis: a worker's claim; the sweeper when Redis lost the message
    RUNNING = "running"  # under a lease: its worker; the sweeper when the lease ran out
    SUCCEEDED = "succeeded"  # terminal
    DEAD = "dead"  # attempts used up, or a permanent error: a person's audited replay
    CANCELLED = "cancelled"  # terminal: by a person, its enqueuer or its handler
    SKIPPED = "skipped"  # terminal: a fire that policy dropped, with the reason


S = RunState

#: Every transition there is. What is not listed cannot happen: the statements in `shared/db/sql` carry the
#: same conditions, and a trigger-free compare-and-set on (state, attempt) enforces them.
TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    S.PENDING: frozenset({S.QUEUED, S.RUNNING, S.CANCELLED}),
    S.QUEUED: frozenset({S.PENDING, S.RUNNING, S.CANCELLED}),
    S.RUNNING: frozenset({S.PENDING, S.SUCCEEDED, S.DEAD, S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.DEAD: frozenset({S.PENDING}),
    S.CANCELLED: frozenset(),
    S.SKIPPED: frozenset(),
}

LIVE: frozenset[RunState] = frozenset({S.PENDING, S.QUEUED, S.RUNNING})
TERMINAL: frozenset[RunState] = frozenset(RunState) - LIVE
CLAIMABLE: frozenset[RunState] = frozenset({S.PENDING, S.QUEUED})


def may_move(before: RunState, after: RunState) -> bool:
    """Whether a run may go from one state to another."""
    return after in TRANSITIONS[before]
