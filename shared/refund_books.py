"""Refunds as people read them: our book, and the provider's beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.errors import BadInput, RateLimited
from shared.core.refunds import RefundStatus
from shared.db.engine import Database
from shared.db.models import AuditEntry, Refund, RefundAttempt
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
    """A refund of the same payment as the provider's book has it. `ours`: it names this refund; `generation` None: without
    saying which."""

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
        return [view_of(refund) for refund in await session.scalars(query)]


async def show(database: Database, gateway: RefundGateway | None, refund_id: UUID) -> BothBooks:
    """Both books about one refund. A provider that does not answer leaves its side empty, with the reason.

    Raises BadInput for an unknown id.
    """
    async with database.session() as session:
        refund = await existing(session, refund_id)
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
            provider = await at_provider(gateway, refund)
        except BadInput as unanswered:
            error = str(unanswered)
    return BothBooks(view_of(refund), *ours, provider, error)


async def existing(session: AsyncSession, refund_id: UUID) -> Refund:
    refund = await session.get(Refund, refund_id)
    if refund is None:
        raise BadInput(f"refund {refund_id}: does not exist")
    return refund


async def at_provider(gateway: RefundGateway, refund: Refund) -> list[ProviderView]:
    try:
        found = [each async for each in gateway.list_for(refund.payment_intent_id)]
    except (OutcomeUnknown, CredentialsRejected, RateLimited) as error:
        raise BadInput(f"the provider cannot be read: {error}") from error
    views = []
    for each in found:
        generation = core.generation_of(each.metadata, refund.id)
        ours = core.names(each.metadata, refund.id) or each.id == refund.provider_refund_id
        views.append(
            ProviderView(
                each.id, each.amount, each.currency, each.status, each.failure_reason, ours, generation
            )
        )
    return views


def view_of(refund: Refund) -> RefundView:
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
