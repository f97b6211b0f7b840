"""A worker's desk without a worker: claims runs on a real database and calls handlers, as the funnel does."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from structlog.stdlib import BoundLogger
from structlog.testing import LogCapture

from shared.core.errors import Fenced
from shared.core.jobspec import JobSpec, NoArgs
from shared.core.outcomes import Outcome, Recorded
from shared.db import ledger
from shared.db.clock import DatabaseClock
from shared.db.engine import Database
from shared.db.ledger import Finished
from shared.db.models import JobRun, Refund, RefundAttempt, WebhookEvent
from shared.enqueue import Enqueuer
from shared.jobs import (
    APPLY_STRIPE_EVENT,
    PROCESS_PENDING_REFUNDS,
    PROCESS_REFUND,
    RECONCILE_REFUNDS,
    RefundArgs,
    WebhookArgs,
)
from shared.ports import Message, RefundGateway, Transport
from tests.fakes.context import WatchedContext
from tests.fakes.limiter import FakeRateLimiter
from worker_svc.context import Handler, JobContext, Services
from worker_svc.decisions import decide_for
from worker_svc.handlers.reconcile_refunds import reconcile_refunds
from worker_svc.handlers.refunds import process_pending_refunds, process_refund
from worker_svc.handlers.stripe_events import apply_stripe_event
from worker_svc.lease import Lease
from worker_svc.refund_steps import RefundSteps

HANDLERS: Mapping[str, Handler] = {
    PROCESS_PENDING_REFUNDS.name: process_pending_refunds,
    PROCESS_REFUND.name: process_refund,
    RECONCILE_REFUNDS.name: reconcile_refunds,
    APPLY_STRIPE_EVENT.name: apply_stripe_event,
}
LEASE_S = 60.0


class Pushed(Transport):
    """Only remembers what was pushed."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def push(self, queue: str, messages: Any) -> None:
        self.messages += messages


@dataclass
class Desk:
    """`log_lines` is what handlers logged."""

    database: Database
    gateway: RefundGateway
    limiter: FakeRateLimiter = field(default_factory=FakeRateLimiter)
    transport: Pushed = field(default_factory=Pushed)
    capture: LogCapture = field(default_factory=LogCapture)
    events: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.enqueuer = Enqueuer(self.database, self.transport)
        self.steps = RefundSteps(self.database)

    def with_gateway(self, gateway: RefundGateway) -> "Desk":
        """Another worker at the same database."""
        return replace(self, gateway=gateway)

    # -------------------------------------------------------------------------------------------------------- rows

    async def add_refund(self, intent_id: str = "pi_1", amount: int = 4_000, **columns: Any) -> UUID:
        """As an outside program inserts one."""
        async with self.database.session() as session:
            refund = Refund(payment_intent_id=intent_id, amount=amount, **{"currency": "usd", **columns})
            session.add(refund)
            await session.flush()
        return refund.id

    async def refund(self, refund_id: UUID) -> Refund:
        async with self.database.session() as session:
            return await session.get_one(Refund, refund_id)

    async def set_refund(self, refund_id: UUID, **columns: Any) -> None:
        async with self.database.session() as session:
            await session.execute(update(Refund).where(Refund.id == refund_id).values(**columns))

    async def attempts(self, refund_id: UUID) -> list[RefundAttempt]:
        query = select(RefundAttempt).where(RefundAttempt.refund_id == refund_id).order_by(RefundAttempt.id)
        async with self.database.session() as session:
            return list(await session.scalars(query))

    async def age_attempts(self, refund_id: UUID, by: timedelta) -> None:
        async with self.database.session() as session:
            await session.execute(
                update(RefundAttempt)
                .where(RefundAttempt.refund_id == refund_id)
                .values(started_at=RefundAttempt.started_at - by)
            )

    async def runs(self, job: JobSpec[Any] = PROCESS_REFUND) -> list[JobRun]:
        query = select(JobRun).where(JobRun.job == job.name).order_by(JobRun.id)
        async with self.database.session() as session:
            return list(await session.scalars(query))

    async def run(self, run_id: UUID | None) -> JobRun:
        async with self.database.session() as session:
            return await session.get_one(JobRun, run_id)

    async def live_runs(self) -> int:
        query = (
            select(func.count())
            .select_from(JobRun)
            .where(JobRun.job == PROCESS_REFUND.name, JobRun.state.in_(["pending", "queued", "running"]))
        )
        async with self.database.session() as session:
            return (await session.execute(query)).scalar_one()

    async def set_run(self, run_id: UUID | None, **columns: Any) -> None:
        async with self.database.session() as session:
            await session.execute(update(JobRun).where(JobRun.id == run_id).values(**columns))

    async def event(self, kind: str, refund: Mapping[str, Any], *, age: timedelta = timedelta(0)) -> str:
        """Stores a webhook as the API does."""
        event_id = f"evt_{next(self.events)}"
        async with self.database.session() as session:
            body = {"id": event_id, "type": kind, "data": {"object": {"object": "refund", **refund}}}
            row = WebhookEvent(provider="stripe", event_id=event_id, type=kind, body=body)
            session.add(row)
            await session.flush()
            row.received_at -= age
        return event_id

    async def stored_event(self, event_id: str) -> WebhookEvent:
        async with self.database.session() as session:
            return await session.get_one(WebhookEvent, ("stripe", event_id))

    # ------------------------------------------------------------------------------------------------------- work

    async def claim(self, run_id: UUID | None) -> JobContext:
        """Takes the run now, whenever it is due; one that was running is taken from its worker, as the sweeper does."""
        assert run_id is not None
        run = await self.run(run_id)
        if run.state == "running":
            await self.set_run(run_id, state="pending", lease_until=None, worker=None)
        await self.set_run(run_id, run_at=text("now() - interval '1 second'"))
        async with self.database.begin() as db:
            message = Message(run_id, run.attempt + 1)
            [claimed] = await ledger.claim(db, [message], worker="desk", lease_s=LEASE_S)
        lease = Lease(time.monotonic(), LEASE_S)
        return WatchedContext(claimed, lease, self._services(), self._log())

    async def handle(self, ctx: JobContext) -> Outcome | Exception:
        """The handler's answer, recorded as the funnel records it. Fenced writes nothing."""
        args = {
            PROCESS_REFUND.name: RefundArgs,
            APPLY_STRIPE_EVENT.name: WebhookArgs,
        }.get(ctx.run.job, NoArgs)(**ctx.run.args)
        answer: Outcome | Exception
        try:
            answer = await HANDLERS[ctx.run.job](ctx, args)
        except Exception as error:
            answer = error
        if not isinstance(answer, Recorded | Fenced):
            async with self.database.begin() as db:
                finished = Finished(ctx.run.id, ctx.run.attempt, decide_for(ctx.run, answer))
                assert await ledger.finish(db, [finished])
        return answer

    async def sweep(self) -> dict[str, Any]:
        answer = await self._once(PROCESS_PENDING_REFUNDS)
        assert not isinstance(answer, Exception), answer
        return cast("dict[str, Any]", answer.result)  # type: ignore[union-attr]  # the sweep is always Done

    async def reconcile(self) -> Outcome | Exception:
        return await self._once(RECONCILE_REFUNDS)

    async def pay(self, refund_id: UUID) -> Outcome | Exception:
        """One attempt at the refund's run, whatever its backoff; the sweep gives it one where it has none."""
        refund = await self.refund(refund_id)
        if refund.run_id is None or (await self.run(refund.run_id)).state not in ("pending", "queued"):
            await self.sweep()
            refund = await self.refund(refund_id)
        return await self.handle(await self.claim(refund.run_id))

    async def tell(self, event_id: str) -> Outcome | Exception:
        run = await self.enqueuer.enqueue(APPLY_STRIPE_EVENT, WebhookArgs(event_id=event_id))
        return await self.handle(await self.claim(run.run_id))

    def logged(self, event: str) -> list[Mapping[str, Any]]:
        return [line for line in self.capture.entries if line["event"] == event]

    async def _once(self, job: JobSpec[NoArgs]) -> Outcome | Exception:
        run = await self.enqueuer.enqueue(job, NoArgs())
        return await self.handle(await self.claim(run.run_id))

    def _services(self) -> Services:
        unused: Any = None
        services = Services(
            database=self.database,
            enqueuer=self.enqueuer,
            gateway=self.gateway,
            mailer=unused,
            renderer=unused,
            limiter=self.limiter,
            clock=DatabaseClock(self.database),
            sender=("billing@example.com", "CueBX"),
            stages="0d",
            stripe_rate_per_s=1000,
            stripe_total_rate_per_s=1000,
            retention=timedelta(days=90),
        )
        object.__setattr__(services, "refund_steps", self.steps)  # one worker's, for all of its runs
        return services

    def _log(self) -> BoundLogger:
        logger: BoundLogger = structlog.wrap_logger(
            None, processors=[self.capture], wrapper_class=BoundLogger
        )
        return logger


def ours(refund_id: object, generation: int = 1) -> dict[str, str]:
    """The metadata by which a refund at Stripe is this row's."""
    return {"refund_id": str(refund_id), "generation": str(generation)}
