"""New refunds, and the one run that each waiting refund has (rule 28).

Each function takes an open connection or session and commits nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.errors import BadInput
from shared.core.states import LIVE, RunState
from shared.db.ledger import Executor
from shared.db.models import Refund
from shared.db.refund_work import locked, run_state
from shared.db.statements import statement
from shared.enqueue import Enqueued, Enqueuer
from shared.jobs import PROCESS_REFUND, RefundArgs
from shared.ports import Message

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a sweep has come to."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Swept:
    """One page of a sweep. `parked`: refunds whose runs kept dying; `cursor` None: there is no further page."""

    messages: list[Message]
    parked: list[UUID]
    cursor: Cursor | None


async def create_refund(
    session: AsyncSession, *, payment_intent_id: str, amount: int, currency: str, reason: str | None = None
) -> UUID:
    """Inserts an approved refund; `amount` in the currency's minor unit. Without a run of its own yet: call
    `enqueue_for_refund` in the same transaction, or leave it to the sweep."""
    refund = Refund(
        payment_intent_id=payment_intent_id, amount=amount, currency=currency.lower(), reason=reason
    )
    session.add(refund)
    await session.flush()
    return refund.id


async def enqueue_for_refund(session: AsyncSession, enqueuer: Enqueuer, refund_id: UUID) -> Enqueued:
    """Gives a waiting refund its run, in the caller's transaction; the run it has, where that one lives (rule 28).

    Never collides with the sweep: both change the row under its lock. Raises BadInput for a refund that does not wait.
    """
    refund = await locked(session, refund_id)
    if refund is None:
        raise BadInput(f"refund_id: there is no refund {refund_id}")
    if refund.status not in core.WAITING:
        raise BadInput(f"refund_id: refund {refund_id} is {refund.status}, not pending")
    # Read after the lock, by a statement of its own: what the last owner of the lock has committed is seen.
    state = await run_state(session, refund.run_id)
    if refund.run_id is not None and state in LIVE:
        return Enqueued(refund.run_id, existing=True)
    run = await enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund_id), session=session)
    refund.run_id, refund.run_attempt = run.run_id, None
    refund.dead_runs += 1 if state is RunState.DEAD else 0
    await session.flush()
    return run


async def sweep(db: Executor, *, after: Cursor | None, most: int) -> Swept:
    """One `process_refund` run for each waiting refund that has none alive, `most` rows a page."""
    rows = (
        await db.execute(
            statement("refund_enqueue"),
            {
                "after_at": after.created_at if after else _BEGINNING,
                "after_id": after.id if after else UUID(int=0),
                "most": most,
                "max_dead": core.MAX_DEAD_RUNS,
                "job": PROCESS_REFUND.name,
                "queue": PROCESS_REFUND.queue.value,
                "priority": PROCESS_REFUND.priority,
                "max_attempts": PROCESS_REFUND.retry.max_attempts,
            },
        )
    ).all()
    return Swept(
        messages=[Message(row.run_id, 1, PROCESS_REFUND.priority) for row in rows if row.enqueued],
        parked=[row.id for row in rows if row.parked],
        cursor=Cursor(rows[-1].created_at, rows[-1].id) if len(rows) == most else None,
    )
