"""A person's decisions about refunds: both books are read, and what is decided is audited (rule 24).

The command line uses it, and whatever else lets people decide.
"""

from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core.decide import clean_text
from shared.core.errors import BadInput
from shared.core.refund_review import Decision, Facts, Plan, Refusal, Shown, plan
from shared.core.refunds import RefundStatus
from shared.core.states import LIVE
from shared.db import audit, refund_work, refunds
from shared.db.engine import Database
from shared.db.models import Refund
from shared.enqueue import Enqueuer
from shared.ports import RefundGateway
from shared.refund_books import RefundView, at_provider, existing, list_refunds, show, view_of

__all__ = ["Decision", "RefundView", "list_refunds", "resolve", "show"]


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
        seen = await existing(session, refund_id)
    shown = tuple(
        Shown(each.id, each.generation, each.status) for each in await at_provider(gateway, seen) if each.ours
    )
    async with database.session() as session:
        refund = await refund_work.locked(session, refund_id)
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
    return view_of(refund)


async def _facts(session: AsyncSession, refund: Refund, shown: tuple[Shown, ...]) -> Facts:
    sent = await refund_work.sent(session, refund.id, refund.generation)
    return Facts(
        status=RefundStatus(refund.status),
        generation=refund.generation,
        first_sent=sent.first,
        key_spent=sent.key_spent,
        run_live=await refund_work.run_state(session, refund.run_id) in LIVE,
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
        values |= {"succeeded_at": func.now(), "failure_reason": None}
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
