"""Takes one frozen batch from its state in the database to the next one.

Whatever happens between two lines here, the next attempt finds in the batch's row what may have been sent: the call is
noted before it is made, and taken back only when the provider certainly sent nothing.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core.errors import Fenced, PauseKind, PauseQueue, RateLimited
from shared.core.reminders import Refusal, Step, halves, next_step, on_refusal
from shared.db import reminder_batches
from shared.db.reminder_batches import Batch
from shared.db.reminders import Fence
from shared.failpoints import Point, failpoint
from shared.ports import DuplicateKey, MailEvent, MailPaused, MailRefused, OutcomeUnknown, Unreachable
from worker_svc.context import JobContext
from worker_svc.reminder_events import BREVO_LIMIT, confirm, pause_for, read_events

CALLS_PER_S: Final = 100
TURN_TIMEOUT_S: Final = 10.0
#: So many mails refused one by one, and none accepted: it is not the mails.
REFUSED_IN_A_ROW: Final = 10


class BatchSender:
    """For one attempt of one run. `stopped` says whether no new call may start; `on_sent` comes after each batch that was
    taken. Counts mails: sent, failed (refused),
    unconfirmed (left to their events), unclear (left to the next attempt)."""

    def __init__(
        self,
        context: JobContext,
        counts: Counter[str],
        stopped: Callable[[], bool],
        on_sent: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._context = context
        self._services = context.services
        self._fence = Fence(context.run.id, context.run.attempt)
        self._counts = counts
        self._stopped = stopped
        self._on_sent = on_sent
        self._refused_alone = 0
        self.unclear_batches = 0

    async def go_on(self, batch: Batch) -> None:
        """Raises PauseQueue, RateLimited, Fenced, or MailRefused after many of them, where nobody's mail would go out now; the
        batch then waits."""
        if batch.calls:
            await self._look_again(batch)
            return
        if batch.adopted:
            async with self._services.database.begin() as db:
                left = await reminder_batches.drop_settled(db, batch.id, self._fence)
            batch = batch if left is None else replace(batch, members=left)
        if batch.members:
            await self._call(batch)

    async def _look_again(self, batch: Batch) -> None:
        """For a batch that an earlier call may have sent. Its key may not be honoured: so look before asking again, and do
        not ask while one cannot look."""
        events: Sequence[MailEvent] | None = None
        try:
            events = await read_events(self._services, batch.tag)
        except OutcomeUnknown as error:
            if self._next_step(batch, events) is not Step.CONFIRM:
                await self._unclear(batch, error)
                return
        match self._next_step(batch, events):
            case Step.CONFIRM:
                await self._leave_unconfirmed(batch, "an earlier call may have sent it", events)
            case Step.WAIT:
                self._count_unclear(batch, "the call before may still be under way")
            case Step.CALL:
                await self._call(batch)

    def _next_step(self, batch: Batch, events: Sequence[MailEvent] | None) -> Step:
        return next_step(batch.calls, batch.age, batch.since_last_call, batch.accepted or bool(events))

    async def _call(self, batch: Batch) -> None:
        if self._stopped():
            return
        await self._services.limiter.acquire(BREVO_LIMIT, rate_per_s=CALLS_PER_S, timeout_s=TURN_TIMEOUT_S)
        self._context.lease.check()
        async with self._services.database.begin() as db:
            calls = await reminder_batches.begin_call(db, batch.id, self._fence)
        if calls is None:
            raise Fenced(
                f"reminder batch {batch.id} is another attempt's, or was sent, or its key is too old"
            )
        try:
            message_ids = await self._services.mailer.send_batch(
                [member.mail for member in batch.members],
                tag=batch.tag,
                idempotency_key=batch.idempotency_key,
                before_call=self._before_call,
            )
        except DuplicateKey as error:
            await self._leave_unconfirmed(batch, str(error))
        except MailRefused as error:
            await self._refused(batch, calls - 1, error)
        except (RateLimited, MailPaused, Unreachable) as error:
            await self._not_now(batch, error)
        except OutcomeUnknown as error:
            await self._unclear(batch, error)
        else:
            failpoint(Point.BREVO_ANSWERED)
            await self._sent(batch, message_ids)

    def _before_call(self) -> None:
        """Rule 7: right before the call leaves."""
        self._context.lease.check()
        failpoint(Point.BREVO_BEFORE_CALL)

    async def _sent(self, batch: Batch, message_ids: Sequence[str]) -> None:
        async with self._services.database.begin() as db:
            if not await reminder_batches.record_sent(db, batch, self._fence, message_ids):
                raise Fenced(f"reminder batch {batch.id} was lost while it was being sent")
        self._counts["sent"] += len(batch.members)
        self._context.log.info(
            "reminder_batch_sent", batch_id=str(batch.id), tag=batch.tag, mails=len(batch.members)
        )
        if self._on_sent is not None:
            await self._on_sent()

    async def _leave_unconfirmed(
        self, batch: Batch, why: str, events: Sequence[MailEvent] | None = None
    ) -> None:
        async with self._services.database.begin() as db:
            if not await reminder_batches.mark_unconfirmed(db, batch.id, self._fence, error=why):
                raise Fenced(f"reminder batch {batch.id} was lost")
        self._context.log.warning("reminder_batch_unconfirmed", batch_id=str(batch.id), why=why)
        left = await confirm(self._context, batch, events)
        self._counts["unconfirmed"] += left
        self._counts["sent"] += len(batch.members) - left

    async def _refused(self, batch: Batch, earlier_calls: int, error: MailRefused) -> None:
        match on_refusal(earlier_calls, len(batch.members)):
            case Refusal.CONFIRM:
                await self._leave_unconfirmed(batch, f"refused after an unclear call: {error}")
            case Refusal.PARK:
                await self._end(batch, "failed", error)
                self._counts["failed"] += 1
                self._context.log.warning("reminder_refused", batch_id=str(batch.id), error=str(error))
                self._refused_alone += 1
                if self._refused_alone >= REFUSED_IN_A_ROW and not self._counts["sent"]:
                    raise error  # the rest waits for the next attempt
            case Refusal.SPLIT:
                for part in await self._split(batch, error):
                    await self._call(part)

    async def _end(self, batch: Batch, status: str, error: MailRefused) -> None:
        async with self._services.database.begin() as db:
            await self._end_in(db, batch, status, error)

    async def _end_in(self, db: AsyncConnection, batch: Batch, status: str, error: MailRefused) -> None:
        if not await reminder_batches.end_refused(db, batch.id, self._fence, status=status, error=str(error)):
            raise Fenced(f"reminder batch {batch.id} was lost")

    async def _split(self, batch: Batch, error: MailRefused) -> list[Batch]:
        """Two batches with keys and tags of their own, in one transaction with the end of this one."""
        parts: list[Batch] = []
        async with self._services.database.begin() as db:
            for members in halves(batch.members):
                part_id = uuid4()
                await reminder_batches.move_members(db, members, parent_id=batch.id, batch_id=part_id)
                parts.append(
                    await reminder_batches.freeze(db, part_id, members, self._fence, parent_id=batch.id)
                )
            await self._end_in(db, batch, "split", error)
        self._context.log.warning(
            "reminder_batch_split", batch_id=str(batch.id), mails=len(batch.members), error=str(error)
        )
        return parts

    async def _not_now(self, batch: Batch, error: RateLimited | MailPaused | Unreachable) -> None:
        """Nothing was sent, and nothing would be: the call does not count, and everybody waits."""
        async with self._services.database.begin() as db:
            if not await reminder_batches.take_call_back(db, batch.id, self._fence, error=str(error)):
                raise Fenced(f"reminder batch {batch.id} was lost")
        match error:
            case RateLimited(retry_after_s=after):
                await self._services.limiter.slow_down(BREVO_LIMIT, after)
                raise error
            case MailPaused():
                raise pause_for(error)
            case _:
                raise PauseQueue(PauseKind.OUTAGE, str(error))

    async def _unclear(self, batch: Batch, error: OutcomeUnknown) -> None:
        """The batch stays `sending`: the next attempt looks, and asks with the same key while it holds."""
        self._count_unclear(batch, str(error))
        try:
            await self._services.mailer.check()
        except OutcomeUnknown as outage:
            raise PauseQueue(PauseKind.OUTAGE, f"{error}; {outage}") from error
        except MailPaused as refusal:
            raise pause_for(refusal) from error

    def _count_unclear(self, batch: Batch, why: str) -> None:
        self._counts["unclear"] += len(batch.members)
        self.unclear_batches += 1
        self._context.log.warning("reminder_batch_unclear", batch_id=str(batch.id), error=why)
