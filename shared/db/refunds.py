"""Refund rows: who gives them a run, who works on them, what is written about them.

Each function takes an open connection or session and commits nothing. The order of locks is the same everywhere: the
refund, then its run.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.decide import clean_text
from shared.core.errors import BadInput, Fenced
from shared.core.refunds import RefundStatus, Verdict
from shared.core.states import LIVE, RunState
from shared.db.ledger import Executor
from shared.db.models import JobRun, Refund, RefundAttempt
from shared.db.statements import statement
from shared.enqueue import Enqueued, Enqueuer
from shared.jobs import PROCESS_REFUND, RefundArgs
from shared.ports import Message

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class PaymentBusy(Exception):
    """Another refund of the same payment intent is being paid: one after the other (rule 26)."""


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


@dataclass(frozen=True, slots=True)
class Sent:
    """What a generation's attempts have done. `first`: the age of the first one that may have had an effect."""

    first: timedelta | None
    key_spent: bool

    @property
    def unresolved(self) -> bool:
        return self.first is not None


@dataclass(frozen=True, slots=True)
class Owner:
    """The attempt that a refund's row names: the fence of every write to it (rule 7)."""

    run_id: UUID | None
    attempt: int | None


# ------------------------------------------------------------------------------------------------------- giving it a run


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


# -------------------------------------------------------------------------------------------------------- working on it


async def locked(session: AsyncSession, refund_id: UUID) -> Refund | None:
    """The row, locked until the transaction ends."""
    return await session.get(Refund, refund_id, with_for_update=True, populate_existing=True)


async def run_state(db: Executor, run_id: UUID | None) -> RunState | None:
    """None: no run, or one that was pruned."""
    if run_id is None:
        return None
    state = (await db.execute(select(JobRun.state).where(JobRun.id == run_id))).scalar()
    return None if state is None else RunState(state)


async def hold_run(db: Executor, run_id: UUID, attempt: int) -> bool:
    """Keeps this attempt's run from being taken away until the transaction ends; whether it was asked to cancel.

    Raises Fenced where another attempt has the run.
    """
    row = (await db.execute(statement("refund_fence"), {"run_id": run_id, "attempt": attempt})).first()
    if row is None:
        raise Fenced(f"run {run_id} attempt {attempt} was lost")
    return bool(row.cancel_requested)


async def sent(db: Executor, refund_id: UUID, generation: int) -> Sent:
    row = (
        await db.execute(
            statement("refund_sent"),
            {
                "id": refund_id,
                "generation": generation,
                "no_effect": sorted(core.NO_EFFECT),
                "key_spent": sorted(core.KEY_SPENT),
            },
        )
    ).one()
    return Sent(row.first_sent, row.key_spent)


async def start_attempt(session: AsyncSession, refund: Refund, run_id: UUID, attempt: int) -> UUID:
    """The refund is `processing`, and the attempt with its key is on record; commit before the call.

    Raises PaymentBusy, Fenced.
    """
    params: dict[str, Any] = {
        "id": refund.id,
        "generation": refund.generation,
        "run_id": run_id,
        "attempt": attempt,
    }
    try:
        async with session.begin_nested():
            started = (await session.execute(statement("refund_start"), params)).first()
    except IntegrityError as error:
        if "refunds_one_at_a_time" not in str(error.orig):
            raise
        raise PaymentBusy(refund.payment_intent_id) from error
    if started is None:
        raise Fenced(f"refund {refund.id} is not run {run_id} attempt {attempt}'s any more")
    record = RefundAttempt(
        refund_id=refund.id,
        generation=refund.generation,
        idempotency_key=core.idempotency_key(refund.id, refund.generation),
        run_id=run_id,
        run_attempt=attempt,
    )
    session.add(record)
    await session.flush()
    return record.id


async def end_attempt(
    db: Executor,
    attempt_id: UUID,
    *,
    outcome: str | None,
    error: str | None = None,
    provider_refund_id: str | None = None,
) -> None:
    """Notes what a call came to; `outcome` None: nobody knows."""
    await db.execute(
        update(RefundAttempt)
        .where(RefundAttempt.id == attempt_id, RefundAttempt.finished_at.is_(None))
        .values(
            outcome=outcome,
            error=None if error is None else clean_text(error),
            provider_refund_id=provider_refund_id,
            finished_at=text("now()"),
        )
    )


async def settle(
    db: Executor, refund: Refund, verdict: Verdict, owner: Owner, *, provider_refund_id: str | None = None
) -> None:
    """Writes what a refund becomes. Raises Fenced where it is not as `refund` has it any more.

    With `provider_refund_id` the provider has told it, a moment ago.
    """
    params = {
        "id": refund.id,
        "generation": refund.generation,
        "expected": refund.status,
        "status": verdict.status.value,
        "provider_refund_id": provider_refund_id,
        "failure_reason": None if verdict.failure_reason is None else clean_text(verdict.failure_reason),
        "review_reason": None if verdict.review_reason is None else clean_text(verdict.review_reason),
        "told": provider_refund_id is not None,
        "run_id": owner.run_id,
        "attempt": owner.attempt,
    }
    if (await db.execute(statement("refund_settle"), params)).first() is None:
        raise Fenced(f"refund {refund.id} was changed by somebody else")


# -------------------------------------------------------------------------------------------------------- reading again


async def due_for_reading(db: Executor, status: RefundStatus, *, every: timedelta, most: int) -> list[UUID]:
    """Refunds in `status` that the provider has, those first that were read longest ago (rule 29)."""
    params = {"status": status.value, "every": every, "watched": core.WATCHED, "most": most}
    return [row.id for row in await db.execute(statement("refund_reconcile"), params)]


async def note_read(db: Executor, refund_id: UUID) -> None:
    """The provider was asked, and nothing is to be changed."""
    await db.execute(update(Refund).where(Refund.id == refund_id).values(reconciled_at=text("now()")))
