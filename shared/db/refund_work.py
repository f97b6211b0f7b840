"""Refund rows under work: who may write to them, and what is written.

Each function takes an open connection or session and commits nothing. The order of locks is the same everywhere: the
refund, then its run.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.decide import clean_text
from shared.core.errors import Fenced
from shared.core.refunds import RefundStatus, Verdict
from shared.core.states import RunState
from shared.db.ledger import Executor
from shared.db.models import JobRun, Refund, RefundAttempt
from shared.db.statements import statement


class PaymentBusy(Exception):
    """Another refund of the same payment intent is being paid: one after the other (rule 26)."""


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


async def is_busy(db: Executor, refund: Refund) -> bool:
    """Whether `start_attempt` would raise PaymentBusy: nothing need be asked of the provider for nothing."""
    others = select(Refund.id).where(
        Refund.payment_intent_id == refund.payment_intent_id,
        Refund.status == RefundStatus.PROCESSING.value,
        Refund.id != refund.id,
    )
    return (await db.execute(others)).first() is not None


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


async def due_for_reading(db: Executor, status: RefundStatus, *, every: timedelta, most: int) -> list[UUID]:
    """Refunds in `status` that the provider has, those first that were read longest ago (rule 29)."""
    params = {"status": status.value, "every": every, "watched": core.WATCHED, "most": most}
    return [row.id for row in await db.execute(statement("refund_reconcile"), params)]


async def note_read(db: Executor, refund_id: UUID) -> None:
    """The provider was asked, and nothing is to be changed."""
    await db.execute(update(Refund).where(Refund.id == refund_id).values(reconciled_at=text("now()")))
