"""Applies the provider's events to reminders and suppressions. Evidence, not work: no run owns these writes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from shared.core.decide import clean_text
from shared.core.mail_events import MAY_BECOME, ReminderStatus, meaning, status_after
from shared.db.ledger import Executor
from shared.db.statements import statement
from shared.ports import MailEvent

_HOLD_UNSETTLED = text(
    "SELECT FROM reminder_batches WHERE tag = ANY (:tags) AND status IN ('unconfirmed', 'needs_review')"
    " ORDER BY id FOR NO KEY UPDATE"
)


@dataclass(frozen=True, slots=True)
class Applied:
    """How many reminders changed, and how many addresses were suppressed anew."""

    reminders: int
    suppressed: int


async def apply_events(
    db: Executor, events: Sequence[MailEvent], *, tags: Sequence[str], source: str
) -> Applied:
    """`events` are of the batches with these tags, in any order, any of them known already; an event may carry no tag that
    is ours: then its message id finds the reminder. `source` is kept with a suppression."""
    suppressed = await suppress(db, events, source=source)
    by_mail: dict[str, list[MailEvent]] = defaultdict(list)
    for event in events:
        by_mail[_address(event)].append(event)
    told = [
        (email, status, clean_text(each[0].message_id), _reason(each, status))
        for email, each in sorted(by_mail.items())
        if (status := status_after(event.event for event in each)) is not None
    ]
    if not told:
        return Applied(0, suppressed)
    # Of the last two events of a batch, told at once, one must see the other: the batch would never be settled.
    await db.execute(_HOLD_UNSETTLED, {"tags": list(tags)})
    params = {
        "emails": [email for email, *_ in told],
        "statuses": [status.value for _, status, *_ in told],
        "message_ids": [message_id for _, _, message_id, _ in told],
        "reasons": [reason for *_, reason in told],
        "tags": list(tags),
        "before_sent": sorted(MAY_BECOME[ReminderStatus.SENT]),
        "before_undelivered": sorted(MAY_BECOME[ReminderStatus.FAILED]),
    }
    changed = (await db.execute(statement("reminder_events"), params)).all()
    await settle(db, sorted({row.batch_id for row in changed if row.batch_id is not None}))
    return Applied(len(changed), suppressed)


async def suppress(db: Executor, events: Sequence[MailEvent], *, source: str) -> int:
    """Keeps the addresses that get no more mail; how many are new."""
    found = [
        (_address(event), known.suppress)
        for event in events
        if (known := meaning(event.event)) is not None and known.suppress is not None
    ]
    if not found:
        return 0
    params = {
        "emails": [email for email, _ in found],
        "reasons": [reason for _, reason in found],
        "source": source,
    }
    return len((await db.execute(statement("reminder_suppress"), params)).all())


async def settle(db: Executor, batch_ids: Sequence[UUID]) -> None:
    """Ends those of the batches whose members are all resolved."""
    if batch_ids:
        await db.execute(statement("reminder_settle"), {"ids": list(batch_ids)})


async def unresolved(db: Executor, batch_id: UUID) -> int:
    """Members of a batch that no event has told about yet."""
    sql = text("SELECT count(*) AS n FROM payment_reminders WHERE batch_id = :id AND status = 'unconfirmed'")
    return int((await db.execute(sql, {"id": batch_id})).one().n)


def _address(event: MailEvent) -> str:
    """As `cuebx_address` has it in the database."""
    return clean_text(event.email).strip().lower()


def _reason(events: Sequence[MailEvent], status: ReminderStatus) -> str | None:
    """Why a mail was not delivered, in the provider's words."""
    if status is ReminderStatus.SENT:
        return None
    for event in events:
        known = meaning(event.event)
        if known is not None and known.status is status:
            why = known.suppress or event.event
            return clean_text(f"{why}: {event.reason}" if event.reason else why)
    return None
