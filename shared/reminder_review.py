"""What a person sees of reminders that are parked, and the decisions they may take. Each one is audited."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text

from shared.core.errors import BadInput
from shared.core.mail_events import ReminderStatus
from shared.db import audit, ledger, mail_events
from shared.db.ledger import Executor
from shared.db.statements import statement
from shared.jobs import CONFIRM_REMINDERS

PARKED: Final = (ReminderStatus.NEEDS_REVIEW, ReminderStatus.UNCONFIRMED, ReminderStatus.FAILED)


class Action(StrEnum):
    MARK_SENT = "mark-sent"  # it did go out
    RESEND = "resend"  # it did not, or not to where it should: once more, under a new key
    GIVE_UP = "give-up"  # it shall not go out


#: What may be decided in which status. While a reminder is unconfirmed its events are still awaited.
ALLOWED: Final[Mapping[Action, frozenset[str]]] = {
    Action.MARK_SENT: frozenset({ReminderStatus.NEEDS_REVIEW}),
    Action.RESEND: frozenset({ReminderStatus.NEEDS_REVIEW, ReminderStatus.FAILED}),
    Action.GIVE_UP: frozenset({ReminderStatus.NEEDS_REVIEW}),
}


@dataclass(frozen=True, slots=True)
class ReminderView:
    """`calls` may have sent it, the first at `first_call_at`; `tag` finds it in the provider's logs."""

    id: UUID
    status: str
    stage: str
    reason: str | None
    email: str | None
    invoice_id: UUID | None
    customer_id: UUID | None
    message_id: str | None
    tag: str | None
    calls: int | None
    first_call_at: datetime | None
    updated_at: datetime


async def list_reminders(
    db: Executor, statuses: Sequence[str] = PARKED, *, most: int = 200
) -> list[ReminderView]:
    """The newest first."""
    rows = await db.execute(statement("reminder_list"), {"statuses": list(statuses), "most": most})
    return [ReminderView(**row._mapping) for row in rows]


async def resolve(db: Executor, reminder_id: UUID, action: Action, *, actor: str, note: str = "") -> str:
    """A person's decision, in the caller's transaction; the reminder's new status.

    Raises BadInput where there is no such reminder or its status, address or invoice does not allow it.
    """
    row = (await db.execute(statement("reminder_hold"), {"id": reminder_id})).first()
    if row is None:
        raise BadInput(f"there is no reminder {reminder_id}")
    if row.status not in ALLOWED[action]:
        may = ", ".join(sorted(ALLOWED[action]))
        raise BadInput(f"reminder {reminder_id} is {row.status}; {action.value} is for: {may}")
    match action:
        case Action.RESEND:
            status = await _resend(db, reminder_id, row)
        case Action.MARK_SENT:
            status = await _set(db, reminder_id, ReminderStatus.SENT, None)
        case Action.GIVE_UP:
            status = await _set(db, reminder_id, ReminderStatus.FAILED, "given up by a person")
    if row.batch_id is not None:
        await mail_events.settle(db, [row.batch_id])
    await audit.record(
        db,
        actor=actor,
        action=action.value,
        kind="reminder",
        subject=reminder_id,
        detail={"before": row.status, "batch": str(row.batch_id), "note": note},
    )
    return status


async def _resend(db: Executor, reminder_id: UUID, row: Any) -> str:
    if row.member is None:
        raise BadInput(f"reminder {reminder_id} was never rendered: there is nothing to send again")
    if row.suppressed is not None:
        raise BadInput(f"the customer's address is suppressed ({row.suppressed}): it gets no mail")
    if not row.still_owed:
        raise BadInput("nothing is owed any more: no reminder goes out")
    params = {
        "id": reminder_id,
        "batch_id": uuid4(),
        "parent_id": row.batch_id,
        # The same content, to the address that the customer has now.
        "content": json.dumps({"members": [{**row.member, "email": row.email}]}),
        "email": row.email,
    }
    await db.execute(statement("reminder_reopen"), params)
    await ledger.enqueue(db, CONFIRM_REMINDERS, [{}])
    return ReminderStatus.PENDING.value


async def _set(db: Executor, reminder_id: UUID, status: ReminderStatus, reason: str | None) -> str:
    sql = text(
        "UPDATE payment_reminders SET status = :status, reason = :reason, updated_at = now(),"
        " sent_at = CASE WHEN :status = 'sent' THEN coalesce(sent_at, now()) ELSE sent_at END WHERE id = :id"
    )
    await db.execute(sql, {"status": status.value, "reason": reason, "id": reminder_id})
    return status.value
