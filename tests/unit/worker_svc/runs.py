"""Claimed runs for tests that need no database."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from shared.db.ledger import ClaimedRun
from worker_svc.attempts import Attempt
from worker_svc.lease import Lease

_RUN = ClaimedRun(
    id=uuid4(),
    job="ping",
    queue="maintenance",
    args={},
    attempt=1,
    max_attempts=10,
    losses=0,
    cancel_requested=False,
    schedule_id=None,
    due_at=None,
    overlap="allow",
    enqueued_at=datetime(2030, 1, 1, tzinfo=UTC),
    started_at=datetime(2030, 1, 1, tzinfo=UTC),
)


def claimed(**changes: Any) -> ClaimedRun:
    return _RUN._replace(**{"id": uuid4(), **changes})


def attempt_at(now: float = 0.0, **changes: Any) -> Attempt:
    """An attempt under a lease of 15 seconds on a clock that stands at `now`."""
    return Attempt(claimed(**changes), Lease(0.0, 15.0, lambda: now))
