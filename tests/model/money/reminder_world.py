"""Reminders: the real handlers and a person's real decisions, between a simulated database and a simulated Brevo."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from shared import reminder_review
from shared.core.errors import BadInput
from shared.core.jobspec import JobArgs, JobSpec
from shared.jobs import (
    APPLY_BREVO_EVENT,
    CONFIRM_REMINDERS,
    SEND_PAYMENT_REMINDER_EMAILS,
    SEND_REMINDER,
    ReminderArgs,
    WebhookArgs,
)
from shared.reminder_review import Action
from tests.model.money import batch_sql, reminder_sql
from tests.model.money.brevo import Mail, PlainText, SimBrevo
from tests.model.money.database import Row, SimDatabase
from tests.model.money.stage import Process, Stage, Violation
from tests.model.money.workers import Workers, simulated_sql
from worker_svc.context import Handler
from worker_svc.handlers.brevo_events import apply_brevo_event
from worker_svc.handlers.confirm_reminders import confirm_reminders
from worker_svc.handlers.reminders import send_payment_reminder_emails
from worker_svc.handlers.send_reminder import send_reminder

HANDLERS: Mapping[str, Handler] = {
    SEND_PAYMENT_REMINDER_EMAILS.name: send_payment_reminder_emails,
    SEND_REMINDER.name: send_reminder,
    CONFIRM_REMINDERS.name: confirm_reminders,
    APPLY_BREVO_EVENT.name: apply_brevo_event,
}
SENDS = (SEND_PAYMENT_REMINDER_EMAILS.name, SEND_REMINDER.name, CONFIRM_REMINDERS.name)
CALL_WORDS = ("lost before", "lost after", "late", "500", "429", "403", "unreachable", "lag")
TABLES = ("customers", "invoices", "payment_reminders", "reminder_batches", "suppressions", "webhook_events")
OPEN = ("pending", "sending", "unconfirmed")


class ReminderWorld:
    """Customers who owe. `with` puts the simulated SQL in place."""

    def __init__(self, honours_keys: bool = True, stages: str = "0d,+3d") -> None:
        self.stage = Stage()
        self.database = SimDatabase(self.stage, TABLES)
        self.database.sql |= reminder_sql.SQL | batch_sql.SQL
        self.database.texts |= reminder_sql.TEXTS
        self.database.rules = Row(all_that_is_owed=True, once=True)
        self.brevo = SimBrevo(self.stage, honours_keys)
        self.brevo.on_mail = self._accepted
        ports = {"mailer": self.brevo, "renderer": PlainText(), "stages": stages}
        self.workers = Workers(self.stage, self.database, HANDLERS, **ports)
        self.accepted: Counter[tuple[object, str]] = (
            Counter()
        )  # mails by business id: (invoice or run, stage)
        self.resent: Counter[tuple[object, str]] = Counter()
        self._violations: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(simulated_sql())
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.close()
        self._stack.close()

    # ------------------------------------------------------------------------------------------------- what happens

    def owing(self, *emails: str, since: timedelta = timedelta(minutes=5)) -> list[UUID]:
        """One invoice each, due so long ago."""
        alone, now = self.database.alone(), self.stage.now
        made = []
        for email in emails:
            known = self.database.rows("customers", email=email)
            who = {"email": email, "name": "Ann", "locale": "en", "time_zone": "UTC", "version": 1}
            customer = known[0] if known else alone.insert("customers", **who)
            columns = {"customer_id": customer.id, "amount_due": 100, "currency": "USD", "status": "open"}
            columns |= {"due_at": now - since, "created_at": now - since, "number": "1", "version": 1}
            made.append(alone.insert("invoices", **columns).id)
            self.stage.say(f"{email} owes since {since}")
        return made

    def pay(self, invoice: Row) -> None:
        self.stage.say("an invoice is paid")
        self.database.alone().put(invoice, status="paid", version=invoice.version + 1)

    def enqueue(self, spec: JobSpec[Any], args: JobArgs | None = None) -> Row:
        """`due_at` is the run's fire, as the scheduler has it."""
        due_at = self.stage.now if spec is SEND_PAYMENT_REMINDER_EMAILS else None
        return self.workers.enqueue(spec, args, due_at=due_at)

    def start(self, spec: JobSpec[Any], args: JobArgs | None = None) -> Process:
        return self.workers.claim(self.enqueue(spec, args))

    def remind_once(self, email: str) -> Row:
        [customer] = self.database.rows("customers", email=email)
        return self.enqueue(SEND_REMINDER, ReminderArgs(user_id=customer.id))

    def again(self, run: Row) -> Process:
        """Its next attempt, whenever it is due; whoever had it has lost it."""
        if run.state == "running":
            self.workers.pass_time(timedelta(seconds=20))
            self.workers.sweep_leases()
        self.workers.pass_time(max(timedelta(0), run.run_at - self.stage.now))
        return self.workers.claim(run)

    def goes_to(self, process: Process, label: str) -> bool:
        """Up to the point whose label begins so; False: it ended before."""
        while not process.over:
            point = next(each for each in self.stage.points if each.process is process)
            if point.label.startswith(label):
                return True
            self.stage.step(point)
        return False

    def decide(self, reminder: Row, action: Action) -> Process:
        """A person decides; `answer` is BadInput where they may not."""
        business_id = self._business_id(reminder)

        async def work() -> object:
            try:
                async with self.database.begin() as db:
                    status = await reminder_review.resolve(db, reminder.id, action, actor="ann")
                    if action is Action.RESEND:
                        self.resent[business_id] += 1
                    return status
            except BadInput as error:
                return error

        return self.stage.start(f"a person: {action.value}", work())

    def deliver(self, body: Mapping[str, Any], *, again: bool = False) -> Row:
        """A webhook is stored, and its job enqueued; `again`: it will come once more."""
        if not again:
            self.brevo.webhooks.remove(dict(body))
        event_id = f"evt_{next(self.database.numbers)}"
        columns = {"body": body, "received_at": self.stage.now, "applied_at": None, "outcome": None}
        self.database.alone().insert("webhook_events", id=event_id, **columns)
        self.stage.say(f"webhook: {body['event']} {body['email']}")
        return self.workers.enqueue(APPLY_BREVO_EVENT, WebhookArgs(event_id=event_id))

    def calm(self) -> None:
        """Webhooks are lost; schedules fire, until everything unclear is old enough for a person."""
        for late in list(self.stage.under_way):
            self.stage.arrive(late)
        self.brevo.refuses.clear()
        jobs = (SEND_PAYMENT_REMINDER_EMAILS, CONFIRM_REMINDERS)
        self.workers.calm(jobs, 9, timedelta(minutes=30), due_at=True)

    # ------------------------------------------------------------------------------------------------- what must hold

    def _business_id(self, reminder: Row) -> tuple[object, str]:
        return (reminder.invoice_id or reminder.once_run_id, reminder.stage)

    def reminders(self, *statuses: str) -> list[Row]:
        rows = self.database.tables["payment_reminders"].values()
        return [each for each in rows if not statuses or each.status in statuses]

    def _accepted(self, mail: Mail) -> None:
        [batch] = self.database.rows("reminder_batches", tag=mail.tag)
        [member] = [m for m in batch.content["members"] if m["email"] == mail.email]
        reminder = self.database.tables["payment_reminders"].get(UUID(member["id"]))
        if reminder is None:
            self._violations.append(f"a mail to {mail.email} that no row stands for")
            return
        business_id = self._business_id(reminder)
        self.accepted[business_id] += 1
        if self.accepted[business_id] > 1 + self.resent[business_id]:
            self._violations.append(f"{mail.email} got the same reminder twice")

    def check(self) -> None:
        """M, at every moment: what Brevo saw while a handler was running is told here."""
        self.must(not self._violations, "; ".join(self._violations))

    def check_end(self) -> None:
        """L, and both books against each other."""
        self.check()
        for reminder in self.reminders():
            mails = self.accepted[self._business_id(reminder)]
            about = f"the reminder to {reminder.email} is {reminder.status}, {mails} went out"
            self.must(reminder.status not in OPEN, f"forgotten: {about}")
            by_hand = self.database.rows("audit_log", subject=str(reminder.id))
            if reminder.status == "sent" and not by_hand:
                self.must(mails > 0, f"not so: {about}")
            if reminder.status in ("skipped", "suppressed"):
                self.must(mails == 0, f"it was sent: {about}")
            if reminder.status == "failed" and reminder.email not in self.brevo.bounces and not by_hand:
                self.must(mails == 0, f"it was sent: {about}")
        for batch in self.database.tables["reminder_batches"].values():
            self.must(batch.status not in OPEN, f"a batch was left {batch.status}")
        for invoice in self.database.rows("invoices", status="open"):
            rows = self.database.rows("payment_reminders", invoice_id=invoice.id, stage="0d")
            self.must(bool(rows), f"nobody was reminded of invoice {invoice.seq}, and no row says why")

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            raise Violation("\n".join([what, *self.stage.trace]))
