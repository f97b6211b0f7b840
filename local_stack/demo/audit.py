"""What came out of the demo: the auditor's findings, those of the plan, and the numbers for the table."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from local_stack import auditor
from local_stack.auditor import Books, Known
from local_stack.auditor.refunds import VOID
from local_stack.demo.plan import Plan


@dataclass(slots=True)
class Audit:
    """What came out. `findings` is empty when books, database and plan agree."""

    refunds: Counter[str] = field(default_factory=Counter)
    reminders: Counter[str] = field(default_factory=Counter)
    refunds_doubled: int = 0
    reminders_doubled: int = 0
    paid: Counter[str] = field(default_factory=Counter)  # by currency, in minor units, by Stripe's books
    findings: list[str] = field(default_factory=list)

    @property
    def duplicates(self) -> int:
        """Refunds and e-mails that the providers' books have more than once."""
        return self.refunds_doubled + self.reminders_doubled


def audit(connection: Connection, plan: Plan, stripe: Books, brevo: Books) -> Audit:
    """`stripe` and `brevo` are the answers of the sandboxes' `/_sandbox/books`."""
    known = Known(
        refunds={refund.id: {refund.fate} for refund in plan.refunds},
        reminders={(i.id, i.stage): {"sent"} for i in plan.invoices if i.stage is not None},
    )
    findings = auditor.audit(connection, stripe=stripe, brevo=brevo, known=known)
    paying = list(_paying(plan, stripe))
    paid: Counter[str] = Counter()
    for entry in paying:
        paid[entry["currency"]] += entry["amount"]
    named = [refund_id for entry in paying if (refund_id := entry["metadata"].get("refund_id"))]
    return Audit(
        refunds=_statuses(connection, "refunds"),
        reminders=_statuses(connection, "payment_reminders"),
        refunds_doubled=len(named) - len(set(named)),
        reminders_doubled=len(brevo["doubled"]),
        paid=paid,
        findings=[*map(str, findings), *_unasked(connection, plan), *_dead(connection)],
    )


def _paying(plan: Plan, stripe: Books) -> Iterator[Mapping[str, Any]]:
    """Stripe's refunds that pay, without those that the plan says somebody else made."""
    foreign = {refund.payment_intent_id for refund in plan.refunds if refund.refunded_by_others}
    for entry in stripe["refunds"]:
        if entry["status"] not in VOID and entry["payment_intent"] not in foreign:
            yield entry


def _statuses(connection: Connection, table: str) -> Counter[str]:
    rows = connection.execute(text(f"SELECT status, count(*) FROM {table} GROUP BY 1"))  # noqa: S608  # our own names
    return Counter(dict(rows.tuples().all()))


def _unasked(connection: Connection, plan: Plan) -> Iterator[str]:
    """Invoices that owe no reminder and were reminded all the same."""
    silent = {invoice.id for invoice in plan.invoices if invoice.stage is None}
    sent = text("SELECT invoice_id, stage FROM payment_reminders WHERE status = 'sent' ORDER BY id")
    for row in connection.execute(sent):
        if row.invoice_id in silent:
            yield f"invoice {row.invoice_id}: reminded {row.stage}, and owed nothing"


def _dead(connection: Connection) -> Iterator[str]:
    dead = connection.execute(text("SELECT count(*) FROM job_runs WHERE state = 'dead'")).scalar_one()
    if dead:
        yield f"{dead} runs are dead: cuebx runs list --state dead"
