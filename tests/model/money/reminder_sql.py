"""The statements that select and write reminders, as `shared/db/sql/reminder_*.sql` have them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from shared.db.reminders import Owed
from tests.model.money.database import Row, Session
from tests.model.money.ledger_sql import holds

OPEN = ("pending", "sending")


def address(email: str | None) -> str:
    return (email or "").strip().lower()


def suppressed(s: Session, email: str | None) -> str | None:
    return next((r.reason for r in s.database.rows("suppressions", email=address(email))), None)


def members(s: Session, batch_id: UUID, *statuses: str) -> list[Row]:
    found = s.database.rows("payment_reminders", batch_id=batch_id)
    return [each for each in found if not statuses or each.status in statuses]


def new_reminder(s: Session, p: Row, **columns: Any) -> Row:
    defaults = dict.fromkeys(("invoice_id", "once_run_id", "reason", "batch_id", "message_id", "sent_at"))
    return s.insert(
        "payment_reminders", **{**defaults, **columns}, run_id=p.run_id, run_attempt=p.run_attempt
    )


# ------------------------------------------------------------------------------------------------------------- selection


def _stages(s: Session, p: Row) -> Iterator[tuple[Row, str, timedelta, bool]]:
    """Owed stages without a row: invoice, stage, how long it has been owed, and whether a later one is owed too."""
    stages = sorted(zip(p.days, p.names, strict=True))
    for place, (days, name) in enumerate(stages):
        for invoice in s.database.rows("invoices", status="open"):
            owed_for = p.as_of - invoice.due_at - timedelta(days=days)
            after = stages[place + 1][0] if place + 1 < len(stages) else None
            superseded = after is not None and p.as_of - invoice.due_at >= timedelta(days=after)
            if owed_for < timedelta(0) or invoice.due_at + timedelta(days=days) < invoice.created_at:
                continue
            if not s.database.rows("payment_reminders", invoice_id=invoice.id, stage=name):
                yield invoice, name, owed_for, superseded


def owed(s: Session, p: Row) -> list[Any]:
    since = p.since if s.database.rules.all_that_is_owed else max(p.since, p.until - timedelta(hours=1))
    found = []
    # Of those due at the same moment, those made first: on PostgreSQL no two are.
    for invoice in sorted(s.database.rows("invoices", status="open"), key=lambda each: each.due_at):
        if not since <= invoice.due_at <= p.until or invoice.due_at <= p.next_since:
            continue
        if not (p.after_at, p.after_id) < (invoice.due_at, invoice.id) <= (p.end_at, p.end_id):
            continue
        if invoice.due_at + p.after < invoice.created_at:
            continue
        if s.database.rows("payment_reminders", invoice_id=invoice.id, stage=p.stage):
            continue
        customer = s.database.tables["customers"][invoice.customer_id]
        columns = {name: getattr(invoice, name) for name in ("number", "amount_due", "currency", "due_at")}
        columns |= {name: getattr(customer, name) for name in ("email", "name", "locale", "time_zone")}
        version = f"{invoice.version} {customer.version}"
        row = {
            "invoice_id": invoice.id,
            "customer_id": customer.id,
            "stage": p.stage,
            **columns,
            "version": version,
        }
        found.append(Owed(**row))
    return found[: p.most]


def skip(s: Session, p: Row) -> list[Row]:
    if holds(s, p.run_id, p.run_attempt) is None:
        return []
    late = [each for each in _stages(s, p) if each[2] > p.tolerance or each[3]]
    return [
        new_reminder(
            s, p, invoice_id=i.id, customer_id=i.customer_id, stage=stage, status="skipped", email=None
        )
        for i, stage, *_ in late
    ]


def insert(s: Session, p: Row) -> list[Row]:
    if holds(s, p.run_id, p.run_attempt) is None:
        return []
    written = []
    for new_id, invoice_id, stage, version, failure in zip(
        p.ids, p.invoices, p.stages, p.versions, p.failures, strict=True
    ):
        invoice = s.database.tables["invoices"][invoice_id]
        customer = s.database.tables["customers"][invoice.customer_id]
        taken = s.database.rows("payment_reminders", invoice_id=invoice_id, stage=stage)
        if invoice.status != "open" or version != f"{invoice.version} {customer.version}" or taken:
            continue
        why = suppressed(s, customer.email)
        status = "suppressed" if why else "failed" if failure else "pending"
        batch_id = p.batch_id if status == "pending" else None
        columns = {"customer_id": customer.id, "stage": stage, "status": status, "reason": why or failure}
        columns |= {"batch_id": batch_id, "email": customer.email}
        written.append(new_reminder(s, p, id=new_id, invoice_id=invoice_id, **columns))
    return written


# ------------------------------------------------------------------------------------------------------------- one-offs


def open_invoices(s: Session, p: Row) -> list[Row]:
    c = s.database.tables["customers"].get(p.customer_id)
    if c is None:
        return []
    head = {"customer_id": c.id, "email": c.email, "name": c.name, "locale": c.locale}
    head |= {"time_zone": c.time_zone, "customer_version": str(c.version)}
    rows = [
        Row(**head, invoice_id=i.id, number=i.number, amount_due=i.amount_due, currency=i.currency,
            due_at=i.due_at, version=f"{i.id} {i.version}")
        for i in _open(s, c.id)
    ]  # fmt: skip
    return rows or [Row(**head, invoice_id=None)]


def insert_once(s: Session, p: Row) -> list[Row]:
    c = s.database.tables["customers"][p.customer_id]
    same = [f"{i.id} {i.version}" for i in _open(s, c.id)] == p.versions and str(
        c.version
    ) == p.customer_version
    taken = s.database.rules.once and s.database.rows("payment_reminders", once_run_id=p.run_id)
    if taken or not same or holds(s, p.run_id, p.run_attempt) is None:
        return []
    why = suppressed(s, c.email)
    columns = {"customer_id": c.id, "stage": "once", "once_run_id": p.run_id, "email": c.email, "reason": why}
    columns |= {"status": "suppressed" if why else "pending", "batch_id": None if why else p.batch_id}
    return [new_reminder(s, p, id=p.id, **columns)]


def status_of_once(s: Session, p: Row) -> list[Row]:
    return s.database.rows("payment_reminders", once_run_id=p.run_id) if s.database.rules.once else []


def _open(s: Session, customer_id: UUID) -> list[Row]:
    return s.database.rows("invoices", customer_id=customer_id, status="open")


# ------------------------------------------------------------------------------------------------------------- events


def suppress(s: Session, p: Row) -> list[Row]:
    new = []
    for email, reason in zip(p.emails, p.reasons, strict=True):
        if suppressed(s, email) is None:
            new.append(s.insert("suppressions", email=email, reason=reason))
    return new


def events(s: Session, p: Row) -> list[Row]:
    batches = {b.id for b in s.database.tables["reminder_batches"].values() if b.tag in p.tags}
    changed = []
    for email, status, message_id, reason in zip(p.emails, p.statuses, p.message_ids, p.reasons, strict=True):
        before = p.before_sent if status == "sent" else p.before_undelivered
        for r in s.database.tables["payment_reminders"].values():
            meant = r.batch_id in batches or r.message_id == message_id
            if meant and address(r.email) == email and r.status in before:
                changed.append(
                    s.put(r, status=status, reason=reason, message_id=r.message_id or message_id or None)
                )
    return changed


def stored_event(s: Session, p: Row) -> list[Row]:
    event = s.database.tables["webhook_events"].get(p.id)
    return [] if event is None else [event]


def event_applied(s: Session, p: Row) -> list[Row]:
    s.put(s.database.tables["webhook_events"][p.id], applied_at=s.database.stage.now, outcome=p.outcome)
    return []


# ------------------------------------------------------------------------------------------------------------- people


def hold(s: Session, p: Row) -> list[Row]:
    r = s.database.tables["payment_reminders"].get(p.id)
    if r is None:
        return []
    customer = s.database.tables["customers"][r.customer_id]
    invoice = s.database.tables["invoices"].get(r.invoice_id)
    batch = s.database.tables["reminder_batches"].get(r.batch_id)
    frozen = [m for m in batch.content["members"] if m["id"] == str(r.id)] if batch else []
    owes = bool(_open(s, customer.id)) if invoice is None else invoice.status == "open"
    columns = {"status": r.status, "batch_id": r.batch_id, "email": customer.email, "still_owed": owes}
    return [Row(**columns, suppressed=suppressed(s, customer.email), member=frozen[0] if frozen else None)]


def decided(s: Session, p: Row) -> list[Row]:
    s.put(s.database.tables["payment_reminders"][p.id], status=p.status, reason=p.reason)
    return []


SQL = {
    "plan_anew": lambda *_: [],
    "reminder_owed": owed,
    "reminder_skip": skip,
    "reminder_insert": insert,
    "reminder_open_invoices": open_invoices,
    "reminder_insert_once": insert_once,
    "reminder_suppress": suppress,
    "reminder_events": events,
    "reminder_hold": hold,
}
#: Statements that are no files, by how they begin.
TEXTS = {
    "SELECT args FROM job_runs": lambda s, p: s.database.rows("job_runs", job=p.job, key=p.key),
    "SELECT body, applied_at": stored_event,
    "UPDATE webhook_events SET applied_at": event_applied,
    "SELECT FROM reminder_batches WHERE tag": lambda s, p: [],
    "SELECT count(*) AS n FROM payment_reminders": lambda s, p: [Row(n=len(members(s, p.id, "unconfirmed")))],
    "SELECT status FROM payment_reminders WHERE once_run_id": status_of_once,
    "UPDATE payment_reminders SET status": decided,
}
