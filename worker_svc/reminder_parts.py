"""Long work in parts, so that several workers share it: a run sends the reminders of one range of due dates, and calls for
another run that goes on behind it.

Parts spare work; what keeps a reminder from going out twice is its row. Whether one is lost, or two overlap, is all the
same to it. The next part is called for once the provider has taken a batch of this one: while nobody knows what becomes
of mail, no more of it is begun. Its push wakes the worker that has waited longest; there it waits until no other part is
rendered, so that one process works on one part, and has selected the next.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from shared.core.stages import parse_stages
from shared.db import ledger, reminder_parts, reminders
from shared.db.refund_work import hold_run
from shared.db.reminders import FIRST, LAST, Fence, Owed, Place
from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS as JOB
from shared.jobs import ReminderPart, RemindersArgs
from shared.ports import Message
from worker_svc.context import JobContext

#: Half a second's work. With fewer, a part's first and last moments weigh; with more, so does the last part of all, which
#: is one worker's while the others have nothing left.
MAILS: Final = 5000
#: Decoding more rows at a time would hold the event loop for longer than a slice.
ROWS_AT_ONCE: Final = 200
SKIPS_AT_ONCE: Final = 10_000
#: For so long a part waits for its turn here. Then another worker may have it.
TURN_TIMEOUT_S: Final = 10.0


class NoTurn(Exception):
    """Another part took this process's time."""


class Part:
    """One attempt at a part. The first one has no `args.part`, and mostly is the only one."""

    def __init__(self, context: JobContext, args: RemindersArgs, as_of: datetime, end: Place | None) -> None:
        self._context = context
        self._args = args
        self._as_of = as_of
        self._stages = parse_stages(context.services.stages)
        part = args.part
        self._after = FIRST if part is None else Place(part.after_due_at, part.after_invoice)
        self._end = end
        self._called = end is not None

    @classmethod
    async def of(cls, context: JobContext, args: RemindersArgs) -> "Part":
        """If an earlier attempt has called for the next part, this one ends where that begins."""
        clock = context.services.clock
        if args.part is None:
            as_of = context.run.due_at or await clock.now()
        else:  # anybody may enqueue a part: nothing is owed before its day
            as_of = min(args.part.as_of, await clock.now())
        end = None
        if context.run.attempt > 1:
            async with context.services.database.begin() as db:
                end = await reminder_parts.begins(db, _next_key(context, args))
        return cls(context, args, as_of, end)

    @property
    def is_last(self) -> bool:
        return self._end is None

    async def select(self) -> list[Owed]:
        """What is owed and has no row, up to MAILS of it: enough for full batches whose addresses differ."""
        found: list[Owed] = []
        while len(found) < MAILS:
            self._context.lease.check()
            async with self._context.services.database.begin() as db:
                rows = await reminders.owed(
                    db,
                    self._stages,
                    as_of=self._as_of,
                    tolerance=self._args.tolerance,
                    most=min(ROWS_AT_ONCE, MAILS - len(found)),
                    after=found[-1].place if found else self._after,
                    end=self._end or LAST,
                )
            found += rows
            if len(rows) < ROWS_AT_ONCE:
                break
        if self._end is None and len(found) == MAILS:
            self._end = found[-1].place
        return found

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Rendering takes all of a process. Raises NoTurn."""
        turn = self._context.services.rendering_turn
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await turn.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            yield
        finally:
            turn.release()

    async def call_next(self) -> None:
        """Commits the run that goes on behind this part, once, and wakes a worker. Raises Fenced."""
        if self._end is None or self._called:
            return
        self._called = True  # where this fails, so does the attempt, and the next one looks
        run, services = self._context.run, self._context.services
        before = self._args.part
        part = ReminderPart(
            of=before.of if before else run.id,
            number=before.number + 1 if before else 2,
            as_of=self._as_of,
            after_due_at=self._end.due_at,
            after_invoice=self._end.invoice_id,
        )
        args = JOB.encode(RemindersArgs(tolerance=self._args.tolerance, part=part))
        async with services.database.begin() as db:
            # With a lost lease it could begin behind what the next attempt goes up to.
            if await hold_run(db, run.id, run.attempt):
                return  # cancelled on request
            key = _next_key(self._context, self._args)
            [called] = await ledger.enqueue(db, JOB, [args], keys=[key], schedule_id=run.schedule_id)
        if called.id is not None:
            self._context.log.info("reminder_part_called", part=part.number, next_run=str(called.id))
            await services.enqueuer.push_now(run.queue, [Message(called.id, 1, JOB.priority)])

    async def skip(self) -> int:
        """Rows for what will not be sent; the last part's to write, since it takes no part in the order."""
        fence, skipped = Fence(self._context.run.id, self._context.run.attempt), 0
        while True:
            self._context.lease.check()
            async with self._context.services.database.begin() as db:
                rows = await reminders.skip(
                    db,
                    self._stages,
                    fence,
                    as_of=self._as_of,
                    tolerance=self._args.tolerance,
                    most=SKIPS_AT_ONCE,
                )
            skipped += rows
            if rows < SKIPS_AT_ONCE:
                return skipped


def _next_key(context: JobContext, args: RemindersArgs) -> str:
    of, number = (args.part.of, args.part.number) if args.part else (context.run.id, 1)
    return f"part:{of}:{number + 1}"
