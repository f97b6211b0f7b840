"""Refunds for those who decide about them: both books side by side, and decisions that are audited (rule 24).

The command line uses it, and whatever else shows refunds to people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.decide import clean_text
from shared.core.errors import BadInput, RateLimited
from shared.core.refund_review import Decision, Facts, Plan, Refusal, Shown, plan
from shared.core.refunds import RefundStatus
from shared.core.states import LIVE
from shared.db import audit, refunds
from shared.db.engine import Database
from shared.db.models import AuditEntry, Refund, RefundAttempt
from shared.enqueue import Enqueuer
from shared.ports import CredentialsRejected, OutcomeUnknown, RefundGateway


@dataclass(frozen=True, slots=True)
class RefundView:
    """A refund as our book has it; `amount` in minor units, `reason` why it failed or waits for a person."""

    id: UUID
    payment_intent_id: str
    amount: int
    currency: str
    status: str
    provider_refund_id: str | None
    generation: int
    run_id: UUID | None
    reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptView:
    """`outcome` None: nobody knows."""

    generation: int
    idempotency_key: str
    run_id: UUID
    run_attempt: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A refund of the same payment as the provider's book has it. `ours`: it names this refund, in that generation."""

    id: str
    amount: int
    currency: str
    status: str
    failure_reason: str | None
    ours: bool
    generation: int | None


@dataclass(frozen=True, slots=True)
class DecisionView:
    at: datetime
    actor: str
    action: str
    detail: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class BothBooks:
    """`provider` None: it was not asked, or did not answer: `provider_error` says why."""

    refund: RefundView
    attempts: Sequence[AttemptView]
    decisions: Sequence[DecisionView]
    provider: Sequence[ProviderView] | None
    provider_error: str | None


async def list_refunds(
    database: Database, *, statuses: Sequence[RefundStatus] = (), most: int = 50
) -> list[RefundView]:
    """The refunds last changed, those first; all statuses where none is given."""
    query = select(Refund).order_by(Refund.updated_at.desc(), Refund.id).limit(most)
    if statuses:
        query = query.where(Refund.status.in_([status.value for status in statuses]))
    async with database.session() as session:
        return [_view(refund) for refund in await session.scalars(query)]


async def show(database: Database, gateway: RefundGateway | None, refund_id: UUID) -> BothBooks:
    """Both books about one refund. A provider that does not answer leaves its side empty, with the reason.

    Raises BadInput for an unknown id.
    """
    async with database.session() as session:
        refund = await _existing(session, refund_id)
        attempts = await session.scalars(
            select(RefundAttempt).where(RefundAttempt.refund_id == refund_id).order_by(RefundAttempt.id)
        )
        decisions = await session.scalars(
            select(AuditEntry)
            .where(AuditEntry.subject_kind == "refund", AuditEntry.subject_id == str(refund_id))
            .order_by(AuditEntry.at, AuditEntry.id)
        )
        ours = (
            [_attempt(each) for each in attempts],
            [DecisionView(each.at, each.actor, each.action, each.detail) for each in decisions],
        )
    provider: list[ProviderView] | None = None
    error: str | None = "the provider was not asked: STRIPE_API_KEY is not set" if gateway is None else None
    if gateway is not None:
        try:
            provider = await _at_provider(gateway, refund)
        except BadInput as unanswered:
            error = str(unanswered)
    return BothBooks(_view(refund), *ours, provider, error)


async def resolve(
    database: Database,
    enqueuer: Enqueuer,
    gateway: RefundGateway,
    refund_id: UUID,
    decision: Decision,
    *,
    actor: str,
    note: str = "",
) -> RefundView:
    """Carries out a person's decision, with its audit record and, for a retry, the refund's new run, in one transaction.

    The provider is read first: no decision is taken on our book alone. Raises BadInput with the reason where a decision
    is not allowed, the provider does not answer, or the refund was changed meanwhile.
    """
    async with database.session() as session:
        seen = await _existing(session, refund_id)
    shown = tuple(
        Shown(each.id, each.generation, each.status)
        for each in await _at_provider(gateway, seen)
        if each.ours
    )
    async with database.session() as session:
        refund = await refunds.locked(session, refund_id)
        if refund is None or refund.updated_at != seen.updated_at:
            raise BadInput(f"refund {refund_id}: was changed at this moment; look at it again")
        facts = await _facts(session, refund, shown)
        made = plan(decision, facts, note=note)
        if isinstance(made, Refusal):
            raise BadInput(f"refund {refund_id}: {made.reason}")
        await _carry_out(session, refund, made, note)
        detail = _detail(seen, facts, made, note)
        await audit.record(
            session, actor=actor, action=decision.value, kind="refund", subject=refund_id, detail=detail
        )
        if made.status is RefundStatus.PENDING:
            await refunds.enqueue_for_refund(session, enqueuer, refund_id)
        await session.refresh(refund)
    return _view(refund)


async def _existing(session: AsyncSession, refund_id: UUID) -> Refund:
    refund = await session.get(Refund, refund_id)
    if refund is None:
        raise BadInput(f"refund {refund_id}: does not exist")
    return refund


async def _at_provider(gateway: RefundGateway, refund: Refund) -> list[ProviderView]:
    try:
        found = [each async for each in gateway.list_for(refund.payment_intent_id)]
    except (OutcomeUnknown, CredentialsRejected, RateLimited) as error:
        raise BadInput(f"the provider cannot be read: {error}") from error
    views = []
    for each in found:
        generation = core.generation_of(each.metadata, refund.id)
        ours = generation is not None or each.id == refund.provider_refund_id
        views.append(
            ProviderView(
                each.id, each.amount, each.currency, each.status, each.failure_reason, ours, generation
            )
        )
    return views


async def _facts(session: AsyncSession, refund: Refund, shown: tuple[Shown, ...]) -> Facts:
    sent = await refunds.sent(session, refund.id, refund.generation)
    return Facts(
        status=RefundStatus(refund.status),
        generation=refund.generation,
        first_sent=sent.first,
        key_spent=sent.key_spent,
        run_live=await refunds.run_state(session, refund.run_id) in LIVE,
        shown=shown,
    )


async def _carry_out(session: AsyncSession, refund: Refund, made: Plan, note: str) -> None:
    values: dict[str, object] = {
        "status": made.status.value,
        "generation": made.generation,
        "review_reason": None,
        "updated_at": func.now(),
    }
    if made.found is not None:
        values |= {
            "provider_refund_id": made.found.id,
            "submitted_at": func.coalesce(Refund.submitted_at, func.now()),
        }
    elif made.status is not RefundStatus.FAILED:
        # The refund at the provider that has failed is no longer what this row stands for; its attempts keep the id.
        values["provider_refund_id"] = None
    if made.status is RefundStatus.SUCCEEDED:
        values |= {"succeeded_at": func.coalesce(Refund.succeeded_at, func.now()), "failure_reason": None}
    elif made.status is RefundStatus.PENDING:
        values |= {"failure_reason": None, "dead_runs": 0, "run_id": None, "run_attempt": None}
    elif made.status is RefundStatus.FAILED:
        told = made.found.status if made.found else "marked as failed"
        values["failure_reason"] = clean_text(note) or refund.failure_reason or told
    await session.execute(
        update(Refund)
        .where(Refund.id == refund.id)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    await session.refresh(refund)


def _detail(seen: Refund, facts: Facts, made: Plan, note: str) -> dict[str, JsonValue]:
    """What was known when it was decided."""
    return {
        "note": clean_text(note),
        "from": facts.status.value,
        "to": made.status.value,
        "generation": facts.generation,
        "next_generation": made.generation,
        "provider_refund_id": made.found.id if made.found else seen.provider_refund_id,
        "shown": [f"{each.id} ({each.status})" for each in facts.shown],
        "first_sent_s": None if facts.first_sent is None else facts.first_sent.total_seconds(),
    }


def _view(refund: Refund) -> RefundView:
    return RefundView(
        id=refund.id,
        payment_intent_id=refund.payment_intent_id,
        amount=refund.amount,
        currency=refund.currency,
        status=refund.status,
        provider_refund_id=refund.provider_refund_id,
        generation=refund.generation,
        run_id=refund.run_id,
        reason=refund.review_reason or refund.failure_reason,
        created_at=refund.created_at,
        updated_at=refund.updated_at,
    )


def _attempt(row: RefundAttempt) -> AttemptView:
    return AttemptView(
        row.generation,
        row.idempotency_key,
        row.run_id,
        row.run_attempt,
        row.started_at,
        row.finished_at,
        row.outcome,
        row.error,
    )
