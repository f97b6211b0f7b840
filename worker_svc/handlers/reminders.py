"""`send_payment_reminder_emails`: sends the reminders that are owed, each once (rules 30 to 33)."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from shared.core.outcomes import Cancel, Done, Outcome, Retry, Snooze
from shared.core.reminders import pack
from shared.core.stages import Stage, parse_stages
from shared.db import ledger, reminders
from shared.db.reminders import Fence, Owed
from shared.jobs import CONFIRM_REMINDERS, RemindersArgs
from worker_svc.context import JobContext
from worker_svc.reminder_freezer import Freezer
from worker_svc.reminder_freezing import render
from worker_svc.reminder_outbox import Outbox

PAGE: Final = 2000
#: Decoding more rows at a time would hold the event loop for longer than a slice.
ROWS_AT_ONCE: Final = 200
SKIPS_AT_ONCE: Final = 10_000
#: The provider shows its events after some seconds.
LOOK_AGAIN_AFTER: Final = timedelta(seconds=15)
CONFIRM_AFTER: Final = timedelta(seconds=15)


async def send_payment_reminder_emails(context: JobContext, args: RemindersArgs) -> Outcome:
    """What is owed at the run's due time gets its reminder, or a row that says why not. Counts by status are the result."""
    stages = parse_stages(context.services.stages)
    as_of = context.run.due_at or await context.services.clock.now()
    counts: Counter[str] = Counter()
    async with Outbox(context) as outbox:
        await outbox.adopt_open()
        complete = await _send(context, outbox, stages, as_of, args.tolerance, counts)
        # Last: rows about a long history must not keep mail waiting.
        counts["skipped"] = await _skip(context, stages, as_of, args.tolerance)
    counts += outbox.counts
    if context.lease.cancel_requested.is_set():
        return Cancel(f"cancelled on request, after {counts['sent']} reminders")
    if counts["unconfirmed"]:
        await confirm_soon(context)
    if counts["unclear"]:
        return still_unclear(counts["unclear"])
    if outbox.broken is not None:
        return Retry(outbox.broken)
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


async def _skip(context: JobContext, stages: Sequence[Stage], as_of: datetime, tolerance: timedelta) -> int:
    fence, skipped = Fence(context.run.id, context.run.attempt), 0
    while True:
        context.lease.check()
        async with context.services.database.begin() as db:
            rows = await reminders.skip(
                db, stages, fence, as_of=as_of, tolerance=tolerance, most=SKIPS_AT_ONCE
            )
        skipped += rows
        if rows < SKIPS_AT_ONCE:
            return skipped


async def _send(
    context: JobContext,
    outbox: Outbox,
    stages: Sequence[Stage],
    as_of: datetime,
    tolerance: timedelta,
    counts: Counter[str],
) -> bool:
    """Page by page, until nothing is owed, or too much is unclear. False: what is left was being changed each time."""
    async with Freezer(context, outbox, counts) as freezer:
        after: Owed | None = None
        before = 0
        while not (outbox.in_doubt or context.lease.cancel_requested.is_set()):
            page = await _page(context, stages, as_of, tolerance, after)
            if not page:
                await freezer.done()
                if after is None:
                    return True
                if freezer.written == before:
                    return False
                after, before = None, freezer.written  # from the beginning again: for what changed meanwhile
                continue
            after = page[-1]
            for group in pack([each.email.strip().lower() for each in page]):
                if outbox.in_doubt:
                    return True
                context.lease.check()
                now = await context.services.clock.now()
                await freezer.put(await render(context.services, [page[index] for index in group], now))
        return True


async def _page(
    context: JobContext, stages: Sequence[Stage], as_of: datetime, tolerance: timedelta, after: Owed | None
) -> list[Owed]:
    """Up to PAGE reminders that are owed, behind `after`: enough for full batches whose addresses differ."""
    page: list[Owed] = []
    while len(page) < PAGE:
        async with context.services.database.begin() as db:
            rows = await reminders.owed(
                db, stages, as_of=as_of, tolerance=tolerance, most=ROWS_AT_ONCE, after=after
            )
        page += rows
        if len(rows) < ROWS_AT_ONCE:
            break
        after = rows[-1]
    return page
