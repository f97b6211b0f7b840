"""What a handler gets: its run, its lease, its dependencies. Ports, never adapters."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.stdlib import BoundLogger

from shared.core.errors import Fenced
from shared.core.outcomes import Cancel, Done, Outcome, Recorded
from shared.db import ledger
from shared.db.engine import Database
from shared.db.ledger import ClaimedRun, Finished
from shared.enqueue import Enqueuer
from shared.ports import Clock, Mailer, RateLimiter, RefundGateway, Renderer
from worker_svc.decisions import decide_for
from worker_svc.lease import Lease
from worker_svc.refund_steps import RefundSteps

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """One of each per process, opened at start-up, closed in reverse order."""

    database: Database
    enqueuer: Enqueuer
    gateway: RefundGateway
    mailer: Mailer
    renderer: Renderer
    limiter: RateLimiter
    clock: Clock
    sender: tuple[str, str]  # address and name
    stages: str
    stripe_rate_per_s: int
    stripe_total_rate_per_s: int
    retention: timedelta
    #: Rendering reminders takes the whole processor: one run does at a time, and the next may be another worker's.
    rendering_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: For statements that look a batch of rows up by their ids; `database` where there is none for them.
    by_id: Database | None = None
    refund_steps: RefundSteps = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "refund_steps", RefundSteps(self.by_id or self.database))


def log_of(run: ClaimedRun) -> BoundLogger:
    """With the run's ids bound: made when there is something to tell, which most runs have not."""
    bound: BoundLogger = log.bind(
        run_id=str(run.id), job=run.job, attempt=run.attempt, schedule_id=run.schedule_id
    )
    return bound


@dataclass(frozen=True, slots=True)
class JobContext:
    """One attempt at one run."""

    run: ClaimedRun
    lease: Lease
    services: Services

    @property
    def log(self) -> BoundLogger:
        """With the run's ids bound."""
        return log_of(self.run)

    async def complete(self, session: AsyncSession, outcome: Done | Cancel) -> Recorded:
        """Ends the run in the caller's transaction: its writes and the run's end commit together, or not at all.

        Return what this returns. Raises Fenced where another attempt owns the run: the transaction must roll back.
        """
        decision = decide_for(self.run, outcome)
        if not await ledger.finish(session, [Finished(self.run.id, self.run.attempt, decision)]):
            raise Fenced(f"run {self.run.id} attempt {self.run.attempt} was lost")
        return Recorded()


Handler = Callable[[JobContext, Any], Awaitable[Outcome]]
