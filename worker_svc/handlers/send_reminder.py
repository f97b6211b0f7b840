"""`send_reminder`: one e-mail to one customer about their open invoices (rule 34)."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from shared.core.outcomes import Cancel, Done, Outcome, Retry
from shared.db import one_off_reminders, reminder_batches
from shared.db.one_off_reminders import Debtor
from shared.db.reminder_batches import Batch, Member
from shared.db.reminders import Fence
from shared.jobs import ReminderArgs
from shared.ports import MailVersion
from worker_svc.context import JobContext, Services
from worker_svc.handlers.reminders import confirm_soon, result_of, still_unclear
from worker_svc.reminder_freezing import MAX_NAME_CHARS
from worker_svc.reminder_outbox import Outbox
from worker_svc.rendering import header_text

#: What one e-mail lists; the rest is counted.
MAX_LISTED: Final = 100


async def send_reminder(context: JobContext, args: ReminderArgs) -> Outcome:
    """However often this run is attempted, at most one e-mail goes out: its row is unique for the run."""
    services = context.services
    async with Outbox(context) as outbox:
        await outbox.adopt_open(only_own=True)
        async with services.database.begin() as db:
            status = await one_off_reminders.status_of(db, context.run.id)
            debtor = await one_off_reminders.debtor(db, args.user_id) if status is None else None
        if status is None:
            if context.lease.cancel_requested.is_set():
                return Cancel("cancelled on request")
            if debtor is None:
                return Cancel(f"there is no customer {args.user_id}")
            if not debtor.invoices:
                return Cancel("the customer has no open invoice")
            frozen = await _freeze(context, debtor)
            if frozen is None:
                return Retry("the customer or an invoice was being changed", timedelta(seconds=5))
            if isinstance(frozen, str):
                return Cancel(f"the address is {frozen}: it gets no mail")
            await outbox.send(frozen)
    if outbox.counts["unclear"]:
        return still_unclear(1)
    if outbox.broken is not None:
        return Retry(outbox.broken)
    if outbox.counts["unconfirmed"]:
        await confirm_soon(context)
    return Done(result_of(outbox.counts))


async def _freeze(context: JobContext, debtor: Debtor) -> Batch | str | None:
    """The batch; or the row's status where there is nothing to send; None where something has just changed."""
    fence = Fence(context.run.id, context.run.attempt)
    member = Member(uuid4(), _mail(context.services, debtor))
    batch_id = uuid4()
    async with context.services.database.begin() as db:
        status = await one_off_reminders.insert(
            db, debtor, reminder_id=member.id, batch_id=batch_id, fence=fence
        )
        if status != "pending":
            return status
        return await reminder_batches.freeze(db, batch_id, [member], fence)


def _mail(services: Services, debtor: Debtor) -> MailVersion:
    name = header_text(debtor.name, MAX_NAME_CHARS)
    listed = sorted(debtor.invoices, key=lambda invoice: (invoice.due_at, invoice.id))[:MAX_LISTED]
    values = {
        "customer_name": name,
        "sender_name": services.sender[1],
        "time_zone": debtor.time_zone,
        "invoices": [
            {
                "number": header_text(invoice.number or ""),
                "amount_due": invoice.amount_due,
                "currency": invoice.currency,
                "due_at": invoice.due_at,
            }
            for invoice in listed
        ],
        "more": len(debtor.invoices) - len(listed),
        "count": len(debtor.invoices),
    }
    content = services.renderer.render("customer_summary", values, locale=debtor.locale)
    return MailVersion(debtor.email.strip(), name, content.subject, content.html, content.text)
