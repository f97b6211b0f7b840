"""One e-mail to one customer about all their open invoices: stage `once`, whose business id is its run's id (rule 34)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from shared.db.ledger import Executor
from shared.db.reminders import Fence
from shared.db.statements import statement


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """`amount_due` is in minor units; `version` changes with the row."""

    number: str | None
    amount_due: int
    currency: str
    due_at: datetime
    id: UUID
    version: str


@dataclass(frozen=True, slots=True)
class Debtor:
    """A customer and what they owe."""

    id: UUID
    email: str
    name: str
    locale: str
    time_zone: str
    version: str
    invoices: Sequence[OpenInvoice]


async def debtor(db: Executor, customer_id: UUID) -> Debtor | None:
    """None: there is no such customer."""
    rows = (await db.execute(statement("reminder_open_invoices"), {"customer_id": customer_id})).all()
    if not rows:
        return None
    invoices = [
        OpenInvoice(r.number, r.amount_due, r.currency, r.due_at, r.invoice_id, r.version)
        for r in rows
        if r.invoice_id is not None
    ]
    first = rows[0]
    return Debtor(
        first.customer_id,
        first.email,
        first.name,
        first.locale,
        first.time_zone,
        first.customer_version,
        invoices,
    )


async def insert(
    db: Executor, debtor: Debtor, *, reminder_id: UUID, batch_id: UUID, fence: Fence
) -> str | None:
    """The row's status: `pending` (its batch has to follow in this transaction) or `suppressed`.

    None: the run has its row already, or was lost, or the customer or an invoice has changed.
    """
    params = {
        "id": reminder_id,
        "customer_id": debtor.id,
        "customer_version": debtor.version,
        "versions": [invoice.version for invoice in debtor.invoices],
        "batch_id": batch_id,
        **fence.params(),
    }
    row = (await db.execute(statement("reminder_insert_once"), params)).first()
    return None if row is None else str(row.status)


async def status_of(db: Executor, run_id: UUID) -> str | None:
    """Of the e-mail that this run has made, if it has."""
    sql = text("SELECT status FROM payment_reminders WHERE once_run_id = :run_id")
    row = (await db.execute(sql, {"run_id": run_id})).first()
    return None if row is None else str(row.status)
