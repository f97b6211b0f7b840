"""A database with customers and invoices, a mail provider, and attempts at runs as a worker makes them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row

from shared import jobs
from shared.core.jobspec import JobArgs, JobSpec
from shared.core.outcomes import Decision, Outcome, Recorded
from shared.core.states import RunState
from shared.db import ledger
from shared.db.clock import DatabaseClock
from shared.db.engine import Database
from shared.db.ledger import Finished
from shared.enqueue import Enqueuer
from shared.ports import Mailer, Message, RefundGateway, Transport
from tests.integration.reminders.held import Unhurried
from worker_svc.context import Handler, JobContext, Services
from worker_svc.decisions import decide_for
from worker_svc.handlers.brevo_events import apply_brevo_event
from worker_svc.handlers.confirm_reminders import confirm_reminders
from worker_svc.handlers.reminders import send_payment_reminder_emails
from worker_svc.handlers.send_reminder import send_reminder
from worker_svc.lease import Lease
from worker_svc.rendering import TemplateRenderer

DAY = timedelta(days=1)
HANDLERS: Mapping[str, Handler] = {
    jobs.SEND_PAYMENT_REMINDER_EMAILS.name: send_payment_reminder_emails,
    jobs.SEND_REMINDER.name: send_reminder,
    jobs.CONFIRM_REMINDERS.name: confirm_reminders,
    jobs.APPLY_BREVO_EVENT.name: apply_brevo_event,
}


class Pushes(Enqueuer):
    """Keeps what was pushed: attempts are claimed here as a test likes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, cast(Transport, None))
        self.pushed: list[UUID] = []
        self.any = asyncio.Event()

    async def push_now(self, queue: str, messages: Sequence[Message]) -> bool:
        self.pushed += [message.run_id for message in messages]
        self.any.set()
        return True


class World:
    """One worker's process; two of them on one database are two workers."""

    def __init__(self, database: Database, mailer: Mailer, stages: str) -> None:
        self.database = database
        self.limiter = Unhurried()
        self.pushes = Pushes(database)
        self.services = Services(
            database=database,
            enqueuer=self.pushes,
            gateway=cast(RefundGateway, None),
            mailer=mailer,
            renderer=TemplateRenderer(),
            limiter=self.limiter,
            clock=DatabaseClock(database),
            sender=("billing@example.com", "CueBX"),
            stages=stages,
            stripe_rate_per_s=25,
            stripe_total_rate_per_s=1000,
            retention=timedelta(days=90),
        )

    # ----------------------------------------------------------------------------------------------------- the billing

    async def customer(self, email: str, name: str = "Ann", **columns: Any) -> UUID:
        row = await self._insert("customers", {"email": email, "name": name, **columns})
        return cast(UUID, row.id)

    async def invoice(self, customer_id: UUID, due_in: timedelta = timedelta(0), **columns: Any) -> UUID:
        """Due so long from now; made 90 days ago, unless told otherwise."""
        now = await self.services.clock.now()
        defaults = {"amount_due": 12_345, "currency": "USD", "created_at": now - 90 * DAY}
        row = await self._insert(
            "invoices", {"customer_id": customer_id, "due_at": now + due_in, **defaults, **columns}
        )
        return cast(UUID, row.id)

    async def owing(
        self, email: str, due_in: timedelta = -timedelta(minutes=5), *, made: timedelta = DAY, **columns: Any
    ) -> UUID:
        """An invoice of a customer of its own, made so long before it is due; stage 0d has been owed for five minutes."""
        now = await self.services.clock.now()
        columns = {"created_at": now + due_in - made, **columns}
        return await self.invoice(await self.customer(email), due_in, **columns)

    async def _insert(self, table: str, columns: Mapping[str, Any]) -> Row[Any]:
        names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        return (
            await self.database.rows(
                f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id", **columns
            )
        )[0]

    # -------------------------------------------------------------------------------------------------------- the books

    async def reminders(self) -> list[Row[Any]]:
        return await self.database.rows("SELECT * FROM payment_reminders ORDER BY created_at, email, stage")

    async def statuses(self) -> dict[str, str]:
        """By address, where each has one reminder."""
        return {row.email: row.status for row in await self.reminders()}

    async def batches(self) -> list[Row[Any]]:
        return await self.database.rows("SELECT * FROM reminder_batches ORDER BY created_at, id")

    async def age_batches(self, minutes: float) -> None:
        """As if the calls had been made so much earlier."""
        await self.database.rows(
            "UPDATE reminder_batches SET first_call_at = first_call_at - make_interval(secs => :s),"
            " last_call_at = last_call_at - make_interval(secs => :s),"
            " finished_at = finished_at - make_interval(secs => :s) RETURNING 1",
            s=minutes * 60,
        )

    # ----------------------------------------------------------------------------------------------------------- the runs

    async def enqueue(
        self, job: JobSpec[Any], args: JobArgs | None = None, *, due_at: datetime | None = None
    ) -> UUID:
        async with self.database.begin() as db:
            inserted = await ledger.enqueue(db, job, [job.encode(args or job.args())])
        run_id = inserted[0].id
        assert run_id is not None
        if due_at is not None:
            await self.database.rows(
                "UPDATE job_runs SET schedule_id = 's', schedule_generation = 1, due_at = :due_at WHERE id = :id RETURNING 1",
                due_at=due_at,
                id=run_id,
            )
        return run_id

    async def claim(self, run_id: UUID) -> JobContext:
        """The next attempt, as a worker claims it."""
        rows = await self.database.rows(
            "UPDATE job_runs SET run_at = now() WHERE id = :id AND state = 'pending' RETURNING attempt",
            id=run_id,
        )
        asked_at = time.monotonic()
        async with self.database.begin() as db:
            claimed = await ledger.claim(db, [Message(run_id, rows[0].attempt + 1)], worker="w", lease_s=30.0)
        return JobContext(claimed[0], Lease(asked_at, 30.0), self.services)

    async def attempt(self, run_id: UUID) -> Outcome:
        """One attempt, recorded; what the handler raises is recorded and raised."""
        return await self.handle(await self.claim(run_id))

    async def handle(self, context: JobContext) -> Outcome:
        args = jobs.JOBS[context.run.job].decode(context.run.args)
        try:
            outcome = await HANDLERS[context.run.job](context, args)
        except Exception as error:
            await self._record(context, decide_for(context.run, error))
            raise
        if not isinstance(outcome, Recorded):
            await self._record(context, decide_for(context.run, outcome))
        return outcome

    async def lose(self, run_id: UUID) -> None:
        """What the sweeper does to a run whose worker is gone."""
        await self.database.rows(
            "UPDATE job_runs SET state = 'pending', lease_until = NULL, worker = NULL WHERE id = :id AND state = 'running'"
            " RETURNING 1",
            id=run_id,
        )

    async def bury(self, run_id: UUID) -> None:
        """The run is dead: nobody will try it again."""
        await self.database.rows(
            "UPDATE job_runs SET state = 'dead', lease_until = NULL, finished_at = now() WHERE id = :id RETURNING 1",
            id=run_id,
        )

    async def _record(self, context: JobContext, decision: Decision) -> None:
        async with self.database.begin() as db:
            await ledger.finish(db, [Finished(context.run.id, context.run.attempt, decision)])

    async def run(
        self,
        job: JobSpec[Any],
        args: JobArgs | None = None,
        *,
        due_at: datetime | None = None,
        most: int = 10,
    ) -> Outcome:
        """Enqueued, and attempted until it has ended."""
        run_id = await self.enqueue(job, args, due_at=due_at)
        for _ in range(most):
            outcome = await self.attempt(run_id)
            if await self.state(run_id) != RunState.PENDING:
                return outcome
        raise AssertionError(f"run {run_id} did not end within {most} attempts")

    async def remind(self, *, due_at: datetime | None = None, tolerance: timedelta = DAY) -> Outcome:
        return await self.run(
            jobs.SEND_PAYMENT_REMINDER_EMAILS, jobs.RemindersArgs(tolerance=tolerance), due_at=due_at
        )

    async def confirm(self) -> Outcome:
        return await self.run(jobs.CONFIRM_REMINDERS)

    async def state(self, run_id: UUID) -> str:
        return str(
            (await self.database.rows("SELECT state FROM job_runs WHERE id = :id", id=run_id))[0].state
        )

    async def webhook(self, event_id: str, body: Mapping[str, Any]) -> Outcome:
        """Stored as the API stores it, and applied."""
        await self.database.rows(
            "INSERT INTO webhook_events (provider, event_id, type, body) VALUES ('brevo', :id, :type, CAST(:body AS jsonb))"
            " ON CONFLICT DO NOTHING RETURNING 1",
            id=event_id,
            type=body.get("event", ""),
            body=json.dumps(body),
        )
        return await self.run(jobs.APPLY_BREVO_EVENT, jobs.WebhookArgs(event_id=event_id))


@asynccontextmanager
async def open_world(url: str, mailer: Mailer, stages: str = "-3d,0d,+3d,+7d,+14d") -> AsyncIterator[World]:
    database = Database(url, application="test", bound_s=10.0)
    try:
        yield World(database, mailer, stages)
    finally:
        await mailer.close()
        await database.close()
