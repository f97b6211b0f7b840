"""`send_payment_reminder_emails`: sends the reminders that are owed, each once (rules 30 to 33)."""

from collections import Counter
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from shared.core.outcomes import Cancel, Done, Outcome, Retry, Snooze
from shared.core.reminders import pack
from shared.db import ledger
from shared.jobs import CONFIRM_REMINDERS, RemindersArgs
from worker_svc.context import JobContext
from worker_svc.reminder_freezer import Freezer
from worker_svc.reminder_freezing import render
from worker_svc.reminder_outbox import Outbox
from worker_svc.reminder_parts import NoTurn, Part

PUT_OFF: Final = timedelta(seconds=1)
#: The provider shows its events after some seconds.
LOOK_AGAIN_AFTER: Final = timedelta(seconds=15)
CONFIRM_AFTER: Final = timedelta(seconds=15)


async def send_payment_reminder_emails(context: JobContext, args: RemindersArgs) -> Outcome:
    """What is owed at the run's due time gets its reminder, or a row that says why not. Counts by status are the result.
    Of much work it does one part (`worker_svc/reminder_parts.py`)."""
    counts: Counter[str] = Counter()
    part = await Part.of(context, args)
    try:
        async with Outbox(context, on_sent=part.call_next) as outbox:
            await outbox.adopt_open()
            complete = await _send(context, outbox, part, counts)
            if part.is_last:
                # Last: rows about a long history must not keep mail waiting.
                counts["skipped"] = await part.skip()
    except NoTurn:
        return Snooze(PUT_OFF, "this worker was rendering other reminders")
    counts += outbox.counts
    if context.lease.cancel_requested.is_set():
        return Cancel(f"cancelled on request, after {counts['sent']} reminders")
    if counts["unconfirmed"]:
        await confirm_soon(context)
    if counts["unclear"]:
        return still_unclear(counts["unclear"])
    if outbox.broken is not None:
        return Retry(outbox.broken)
    await part.call_next()
    if not complete:
        return Retry("some invoices were being changed")
    return Done(result_of(counts))


def still_unclear(mails: int) -> Snooze:
    """Looks again when the provider may show events. It costs no attempt, and ends when the batch's key grows too old."""
    return Snooze(LOOK_AGAIN_AFTER, f"it is unclear whether {mails} mails were sent")


async def confirm_soon(context: JobContext) -> None:
    """Looks for the events of unconfirmed mail before the schedule of `confirm_reminders` does."""
    async with context.services.database.begin() as db:
        key = f"after:{context.run.id}:{context.run.attempt}"
        now = await context.services.clock.now()
        await ledger.enqueue(db, CONFIRM_REMINDERS, [{}], keys=[key], run_ats=[now + CONFIRM_AFTER])


def result_of(counts: Counter[str]) -> dict[str, JsonValue]:
    """The counts that are not zero."""
    return {name: count for name, count in sorted(counts.items()) if count}


async def _send(context: JobContext, outbox: Outbox, part: Part, counts: Counter[str]) -> bool:
    """Until nothing of the part is owed, or too much is unclear. False: what is left was being changed each time."""
    page = await part.select()
    async with part.turn(), Freezer(context, outbox, counts) as freezer:
        before = 0
        while page and not (outbox.in_doubt or context.lease.cancel_requested.is_set()):
            for group in pack([each.email.strip().lower() for each in page]):
                if outbox.in_doubt:
                    return True
                context.lease.check()
                now = await context.services.clock.now()
                await freezer.put(await render(context.services, [page[index] for index in group], now))
            await freezer.done()
            page = await part.select()  # for what changed meanwhile
            if page and freezer.written == before:
                return False
            before = freezer.written
        return True
