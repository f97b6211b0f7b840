"""`confirm_reminders`: resolves batches whose outcome is unclear, and reads once more the events of those sent (rule 33)."""

from collections import Counter
from datetime import timedelta
from typing import Final
from uuid import UUID

from shared.core.errors import RateLimited
from shared.core.jobspec import NoArgs
from shared.core.outcomes import Done, Outcome, Retry
from shared.db import mail_events, reminder_batches
from shared.db.reminders import Fence
from shared.ports import OutcomeUnknown
from worker_svc.context import JobContext
from worker_svc.handlers.reminders import result_of, still_unclear
from worker_svc.reminder_events import SOURCE, confirm, read_events
from worker_svc.reminder_outbox import Outbox

#: By then most bounces are known. Webhooks tell them sooner, and may be lost.
FOLLOW_UP_AFTER: Final = timedelta(hours=1)
MAX_FOLLOW_UPS: Final = 200


async def confirm_reminders(context: JobContext, _: NoArgs) -> Outcome:
    """Goes on with what ended runs left open, confirms by events, parks what stays unknown."""
    async with Outbox(context) as outbox:
        await outbox.adopt_open()
    counts: Counter[str] = Counter(outbox.counts)
    await _confirm_all(context, counts)
    await _follow_up(context, counts)
    if counts["unclear"]:
        return still_unclear(counts["unclear"])
    if outbox.broken is not None:
        return Retry(outbox.broken)
    return Done(result_of(counts))


async def _confirm_all(context: JobContext, counts: Counter[str]) -> None:
    fence, seen = Fence(context.run.id, context.run.attempt), list[UUID]()
    while True:
        context.lease.check()
        async with context.services.database.begin() as db:
            batch = await reminder_batches.adopt(db, fence, statuses=("unconfirmed",), seen=seen)
        if batch is None:
            return
        seen.append(batch.id)
        left = await confirm(context, batch)
        counts["confirmed"] += len(batch.members) - left
        counts["unresolved"] += left


async def _follow_up(context: JobContext, counts: Counter[str]) -> None:
    fence = Fence(context.run.id, context.run.attempt)
    for _ in range(MAX_FOLLOW_UPS):
        context.lease.check()
        # Marked and read in one transaction would hold it open over a call; a mark without a reading is only a look less.
        async with context.services.database.begin() as db:
            due = await reminder_batches.due_follow_up(db, fence, after=FOLLOW_UP_AFTER)
        if due is None:
            return
        try:
            events = await read_events(context.services, due[1])
        except (OutcomeUnknown, RateLimited) as error:
            context.log.warning("reminder_follow_up_unreadable", tag=due[1], error=str(error))
            return  # one look less; the others are for the next run
        async with context.services.database.begin() as db:
            applied = await mail_events.apply_events(db, events, tags=[due[1]], source=SOURCE)
        counts["followed_up"] += 1
        counts["suppressed"] += applied.suppressed
