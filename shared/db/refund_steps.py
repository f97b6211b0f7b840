"""The three steps of paying a refund, of many refunds at a time: taking them, putting attempts on record, settling them.

Each function takes an open connection and commits nothing. It does what is plain, and answers None for the rest: that is
looked at refund by refund, as `refund_work` has it. No row is waited for; entries of unique indexes are: bound that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core import refunds as core
from shared.core.decide import clean_text
from shared.core.errors import Fenced
from shared.core.refunds import Verdict
from shared.db.ledger import AnyExecutor, Finished, finish
from shared.db.models import Refund
from shared.db.refund_work import Sent
from shared.db.statements import statement

#: A refund, its run and the attempt.
_Owned = tuple[UUID, UUID | None, int | None]


@dataclass(frozen=True, slots=True)
class Take:
    refund_id: UUID
    run_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The refund as it is now, and what is on record. `busy`: another refund of its payment is being paid (rule 26)."""

    refund: Refund
    sent: Sent
    busy: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """`refund` as its attempt `attempt_id` froze it; `finished` ends the run."""

    refund: Refund
    attempt_id: UUID
    provider_refund_id: str
    verdict: Verdict
    finished: Finished


async def take(db: AnyExecutor, steps: Sequence[Take]) -> list[Taken | None]:
    params = {
        "ids": [step.refund_id for step in steps],
        "run_ids": [step.run_id for step in steps],
        "attempts": [step.attempt for step in steps],
        "no_effect": sorted(core.NO_EFFECT),
        "key_spent": sorted(core.KEY_SPENT),
    }
    rows = await _rows(db, "refund_take_many", params)
    return [_taken(rows.get((step.refund_id, step.run_id, step.attempt))) for step in steps]


async def _rows(db: AnyExecutor, name: str, params: dict[str, Any]) -> dict[_Owned, Any]:
    """Two attempts may ask for one refund; the row is for the one that it names (rule 7)."""
    rows = (await db.execute(statement(name), params)).all()
    return {(row.id, row.run_id, row.run_attempt): row for row in rows}


def _taken(row: Any) -> Taken | None:
    if row is None:
        return None
    refund = Refund(
        id=row.id,
        payment_intent_id=row.payment_intent_id,
        amount=row.amount,
        currency=row.currency,
        status=row.status,
        reason=row.reason,
        generation=row.generation,
        succeeded_at=row.succeeded_at,
        run_id=row.run_id,
        run_attempt=row.run_attempt,
    )
    return Taken(refund, Sent(row.first_sent, row.key_spent), row.busy)


async def start(db: AnyExecutor, refunds: Sequence[Refund]) -> list[UUID | None]:
    """The ids of the attempts, which freeze what the refunds ask for. Notes in each what is only known now."""
    params = {
        "ids": [refund.id for refund in refunds],
        "generations": [refund.generation for refund in refunds],
        "run_ids": [refund.run_id for refund in refunds],
        "attempts": [refund.run_attempt for refund in refunds],
        "keys": [core.idempotency_key(refund.id, refund.generation) for refund in refunds],
        "payment_intents": [refund.payment_intent_id for refund in refunds],
        "amounts": [refund.amount for refund in refunds],
        "currencies": [refund.currency.lower() for refund in refunds],
        "resend_within": core.RESEND_WITHIN,
        "no_effect": sorted(core.NO_EFFECT),
    }
    rows = await _rows(db, "refund_start_many", params)
    return [_started(rows.get((refund.id, refund.run_id, refund.run_attempt)), refund) for refund in refunds]


def _started(row: Any, refund: Refund) -> UUID | None:
    if row is None:
        return None
    # What is sent is what the attempt freezes, the reason too, which nobody has looked at before.
    refund.reason, refund.succeeded_at = row.reason, row.succeeded_at
    attempt_id: UUID = row.attempt_id
    return attempt_id


async def settle(db: AsyncConnection, steps: Sequence[Settle]) -> list[bool]:
    """Refunds, attempts and runs, in the caller's transaction; False: nothing of it was written."""
    params = {
        "ids": [step.refund.id for step in steps],
        "generations": [step.refund.generation for step in steps],
        "run_ids": [step.finished.run_id for step in steps],
        "attempts": [step.finished.attempt for step in steps],
        "attempt_ids": [step.attempt_id for step in steps],
        "ever_succeeded": [step.refund.succeeded_at is not None for step in steps],
        "provider_refund_ids": [step.provider_refund_id for step in steps],
        "statuses": [step.verdict.status.value for step in steps],
        "failure_reasons": [_clean(step.verdict.failure_reason) for step in steps],
        "review_reasons": [_clean(step.verdict.review_reason) for step in steps],
    }
    rows = await _rows(db, "refund_settle_many", params)
    settled = [(step.refund.id, step.finished.run_id, step.finished.attempt) in rows for step in steps]
    finished = [step.finished for step, done in zip(steps, settled, strict=True) if done]
    if finished and len(await finish(db, finished)) != len(finished):
        raise Fenced("a run was lost although it was held")
    return settled


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)
