"""`apply_brevo_event`: what a stored webhook says of a reminder and its address."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from shared.core.outcomes import Cancel, Done, Outcome
from shared.db import mail_events
from shared.jobs import WebhookArgs
from shared.ports import MailEvent
from worker_svc.context import JobContext

SOURCE = "brevo webhook"


async def apply_brevo_event(context: JobContext, args: WebhookArgs) -> Outcome:
    """Applied with the end of the run in one transaction; twice, late and out of order are all the same."""
    async with context.services.database.session() as session:
        stored = await session.execute(
            text(
                "SELECT body, applied_at, received_at FROM webhook_events"
                " WHERE provider = 'brevo' AND event_id = :id FOR UPDATE"
            ),
            {"id": args.event_id},
        )
        row = stored.first()
        if row is None:
            return await context.complete(session, Cancel("there is no such event"))
        if row.applied_at is not None:
            return await context.complete(session, Done({"outcome": "applied before"}))
        event = read(row.body, row.received_at)
        outcome = "says nothing of a mail"
        if event is not None:
            applied = await mail_events.apply_events(session, [event], tags=tags_of(row.body), source=SOURCE)
            outcome = f"{applied.reminders} reminders changed, {applied.suppressed} addresses suppressed"
        await session.execute(
            text(
                "UPDATE webhook_events SET applied_at = now(), outcome = :outcome"
                " WHERE provider = 'brevo' AND event_id = :id"
            ),
            {"id": args.event_id, "outcome": outcome},
        )
        return await context.complete(session, Done({"outcome": outcome}))


def read(body: dict[str, Any], received_at: datetime) -> MailEvent | None:
    """None where there is no event, or nobody it is about."""
    event, email, message_id = body.get("event"), body.get("email"), body.get("message-id")
    if not isinstance(event, str) or not isinstance(email, str) or not email:
        return None
    seconds, reason = body.get("ts_event") or body.get("ts"), body.get("reason")
    at = received_at
    if isinstance(seconds, int) and 0 < seconds < 2**33:
        at = datetime.fromtimestamp(seconds, UTC)
    return MailEvent(
        event,
        email,
        message_id if isinstance(message_id, str) else "",
        at,
        reason if isinstance(reason, str) else None,
    )


def tags_of(body: dict[str, Any]) -> list[str]:
    """`tags` is a list; older deliveries have only `tag`, one or a list in JSON: ours contain no such characters."""
    tags = body.get("tags")
    found = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    tag = body.get("tag")
    if isinstance(tag, str):
        found += [part.strip(' "[]') for part in tag.split(",")]
    return found
