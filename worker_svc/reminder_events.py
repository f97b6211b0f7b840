"""Reads the provider's events of a batch, and resolves an unconfirmed one by them, address by address (rule 33)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from shared.core.errors import PauseKind, PauseQueue, RateLimited
from shared.core.reminders import is_overdue
from shared.db import mail_events, reminder_batches
from shared.db.reminder_batches import Batch
from shared.db.reminders import Fence
from shared.ports import MailEvent, MailPaused, OutcomeUnknown
from worker_svc.context import JobContext, Services

#: Names of the limits that all workers share.
BREVO_LIMIT: Final = "brevo"
BREVO_READ_LIMIT: Final = "brevo_reads"
READS_PER_S: Final = 2
TURN_TIMEOUT_S: Final = 30.0
PROBE_AFTER_S: Final = 60.0
SOURCE: Final = "brevo events"
PARKED: Final = "nobody knows whether it was sent: the provider shows no event of it"


async def read_events(services: Services, tag: str) -> Sequence[MailEvent]:
    """Raises OutcomeUnknown where the provider does not answer, RateLimited, PauseQueue."""
    await services.limiter.acquire(BREVO_READ_LIMIT, rate_per_s=READS_PER_S, timeout_s=TURN_TIMEOUT_S)
    try:
        return await services.mailer.events(tag)
    except MailPaused as error:
        raise pause_for(error) from error


def pause_for(error: MailPaused) -> PauseQueue:
    """Nobody's mail goes out: the queue waits for credits, or for somebody who puts the account in order."""
    kind = PauseKind.CREDITS if error.status == 402 else PauseKind.CREDENTIALS
    return PauseQueue(kind, str(error), PROBE_AFTER_S)


async def confirm(context: JobContext, batch: Batch, events: Sequence[MailEvent] | None = None) -> int:
    """Applies the events of an unconfirmed batch of ours; how many mails stay unconfirmed or were parked.

    An unreadable report leaves the batch for the next look, for a day.
    """
    fence = Fence(context.run.id, context.run.attempt)
    readable = True
    if events is None:
        try:
            events = await read_events(context.services, batch.tag)
        except (OutcomeUnknown, RateLimited) as error:
            context.log.warning("reminder_events_unreadable", batch_id=str(batch.id), error=str(error))
            events, readable = (), False
    parked = 0
    async with context.services.database.begin() as db:
        await mail_events.apply_events(db, events, tags=[batch.tag], source=SOURCE)
        left = await mail_events.unresolved(db, batch.id)
        if left == 0:
            await mail_events.settle(db, [batch.id])
        elif is_overdue(batch.since_last_call or timedelta(0), readable=readable):
            parked = await reminder_batches.park(db, batch.id, fence, reason=PARKED)
        else:
            await reminder_batches.release(db, batch.id, fence, read=readable)
    if parked:
        context.log.error("reminders_parked", batch_id=str(batch.id), tag=batch.tag, mails=parked)
    elif left == 0:
        context.log.info("reminder_batch_confirmed", batch_id=str(batch.id), mails=len(batch.members))
    return left
