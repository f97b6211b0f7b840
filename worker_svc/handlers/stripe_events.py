"""Stripe's webhooks, after they were stored: each is a hint to read the refund, and no more (rule 29)."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.core import refunds as core
from shared.core.outcomes import Cancel, Done, Outcome, Recorded, Retry, Snooze
from shared.db import refund_work
from shared.db.models import Refund, WebhookEvent
from shared.jobs import WebhookArgs
from shared.ports import CredentialsRejected, OutcomeUnknown
from worker_svc.context import JobContext
from worker_svc.handlers.refund_reading import apply_reading
from worker_svc.handlers.refund_settling import tell_verdict
from worker_svc.handlers.stripe_calls import StripeCalls

#: An event may overtake our own commit. The refund's run has the first word, for so long; then reconciliation has the last.
RUN_FIRST_S = 2.0
RUN_FIRST_AT_MOST = timedelta(minutes=5)
_ID = re.compile(r"\w{1,255}", re.ASCII)


async def apply_stripe_event(ctx: JobContext, args: WebhookArgs) -> Outcome:
    """Finds the refund by the event's metadata, reads it from Stripe, applies that; the event is then marked applied."""
    async with ctx.services.database.session() as session:
        event = await session.get(WebhookEvent, ("stripe", args.event_id))
        if event is None:
            return Cancel(f"no event {args.event_id} is stored")
        if event.applied_at is not None:
            return Done({"outcome": event.outcome})
        provider_refund_id = _refund_in(event.body)
        refund_id = await _find(session, event.body, provider_refund_id)
        if provider_refund_id is None or refund_id is None:
            word = "ignored" if provider_refund_id is None else "not_ours"
            return await _applied(ctx, session, args.event_id, word)
        refund = await session.get_one(Refund, refund_id)
        age = (await session.execute(select(text("now()")))).scalar_one() - event.received_at
    if refund.status in core.WAITING and age < RUN_FIRST_AT_MOST:
        return Snooze(timedelta(seconds=RUN_FIRST_S), "the refund's own run has the first word")
    return await _read_and_apply(ctx, args.event_id, refund, provider_refund_id)


async def _read_and_apply(ctx: JobContext, event_id: str, seen: Refund, provider_refund_id: str) -> Outcome:
    calls = StripeCalls(ctx)
    try:
        found = await calls.retrieve(provider_refund_id)
    except (OutcomeUnknown, CredentialsRejected) as error:
        await calls.pause_if_nobody_is_served(error)
        return Retry(str(error))
    verdict = None
    async with ctx.services.database.session() as session:
        refund = await refund_work.locked(session, seen.id)
        if found is None or refund is None:
            word = "unknown_at_stripe"
        elif refund.updated_at != seen.updated_at:
            # Somebody wrote after we had asked: an old answer must not overtake a newer one.
            return Snooze(timedelta(0), "the refund was changed meanwhile, and is read again")
        elif found.id != refund.provider_refund_id and not core.names(found.metadata, refund.id):
            word = "not_ours"  # whatever the event said: what Stripe has does not name this refund
        elif refund.status in core.WAITING:
            word = "left_to_its_run"
        else:
            verdict = await apply_reading(session, refund, found)
            word = "unchanged" if verdict is None else verdict.status.value
        recorded = await _applied(ctx, session, event_id, word)
    if verdict is not None:
        tell_verdict(ctx.log.bind(refund_id=str(seen.id)), verdict, provider_refund_id)
    return recorded


async def _applied(ctx: JobContext, session: AsyncSession, event_id: str, word: str) -> Recorded:
    await session.execute(
        update(WebhookEvent)
        .where(WebhookEvent.provider == "stripe", WebhookEvent.event_id == event_id)
        .values(applied_at=text("now()"), outcome=word)
    )
    return await ctx.complete(session, Done({"outcome": word}))


def _refund_in(body: Any) -> str | None:
    """The id of the refund that an event is about; None: it is about something else, or cannot be read."""
    try:
        found = body["data"]["object"]
        made, kind = found["id"], found["object"]
    except (KeyError, TypeError):
        return None
    # It becomes part of a path: Stripe would answer something else for one that is empty, or is dots.
    return made if kind == "refund" and isinstance(made, str) and _ID.fullmatch(made) else None


async def _find(session: AsyncSession, body: Any, provider_refund_id: str | None) -> UUID | None:
    """Our refund: by its id in the metadata, else by Stripe's."""
    if provider_refund_id is None:
        return None
    metadata = body["data"]["object"].get("metadata")
    named = metadata.get("refund_id") if isinstance(metadata, dict) else None
    try:
        by_metadata = await session.get(Refund, UUID(str(named)))
    except ValueError:
        by_metadata = None
    if by_metadata is not None:
        return by_metadata.id
    by_id = select(Refund.id).where(Refund.provider_refund_id == provider_refund_id)
    return (await session.execute(by_id)).scalar()
