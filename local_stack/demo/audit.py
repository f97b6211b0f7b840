"""Compares the providers' books with the database, to the cent and to the e-mail, and both with what was planned."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from local_stack.demo.plan import Plan

#: A refund as the sandbox's books have it.
Entry = Mapping[str, Any]
#: A refund in one of these pays nothing.
_VOID = ("failed", "canceled")


@dataclass(slots=True)
class Audit:
    """What came out. `findings` is empty when books, database and plan agree."""

    refunds: Counter[str] = field(default_factory=Counter)
    reminders: Counter[str] = field(default_factory=Counter)
    refunds_doubled: int = 0
    reminders_doubled: int = 0
    paid: dict[str, int] = field(default_factory=dict)  # by currency, in minor units, by Stripe's books
    findings: list[str] = field(default_factory=list)

    @property
    def duplicates(self) -> int:
        """Refunds and e-mails that the providers' books have more than once."""
        return self.refunds_doubled + self.reminders_doubled


def audit(connection: Connection, plan: Plan, stripe: Mapping[str, Any], brevo: Mapping[str, Any]) -> Audit:
    """`stripe` and `brevo` are the answers of the sandboxes' `/_sandbox/books`."""
    result = Audit()
    _refunds(connection, plan, stripe["refunds"], result)
    _reminders(connection, plan, brevo, result)
    _runs(connection, result)
    return result


def _refunds(connection: Connection, plan: Plan, booked: Sequence[Entry], result: Audit) -> None:
    paying = _paying(plan, booked)
    rows = connection.execute(
        text("SELECT id, status, amount, lower(currency) AS currency FROM refunds")
    ).all()
    known = {str(row.id): row for row in rows}
    result.refunds = Counter(row.status for row in rows)
    for refund_id, entries in paying.items():
        result.refunds_doubled += len(entries) - 1
        row = known.get(refund_id)
        if row is None:
            result.findings.append(f"Stripe has a refund that the database does not know: {entries[0]['id']}")
        elif any((entry["amount"], entry["currency"]) != (row.amount, row.currency) for entry in entries):
            result.findings.append(f"refund {refund_id}: the amounts differ")
        for entry in entries:
            result.paid[entry["currency"]] = result.paid.get(entry["currency"], 0) + entry["amount"]
    for planned in plan.refunds:
        status, times = known[str(planned.id)].status, len(paying.get(str(planned.id), []))
        if status != planned.fate:
            result.findings.append(
                f"refund {planned.id} ({planned.payment_intent_id}): {status}, not {planned.fate}"
            )
        if (status == "succeeded") != (times == 1):
            result.findings.append(f"refund {planned.id}: {status} here, paid {times} times at Stripe")
    if result.refunds_doubled:
        result.findings.append(f"{result.refunds_doubled} refunds were paid more than once")


def _paying(plan: Plan, booked: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    """Stripe's refunds that pay, by our id in their metadata; without those that the plan says somebody else made."""
    foreign = {refund.payment_intent_id for refund in plan.refunds if refund.refunded_by_others}
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in booked:
        if entry["status"] not in _VOID and entry["payment_intent"] not in foreign:
            found[entry["metadata"].get("refund_id", "")].append(entry)
    return found


def _reminders(connection: Connection, plan: Plan, brevo: Mapping[str, Any], result: Audit) -> None:
    rows = connection.execute(
        text(
            "SELECT invoice_id, stage, status, message_id FROM payment_reminders WHERE invoice_id IS NOT NULL"
        )
    ).all()
    result.reminders = Counter(row.status for row in rows)
    sent = {(row.invoice_id, row.stage): row for row in rows if row.status == "sent"}
    for invoice in plan.invoices:
        stages = [stage for owner, stage in sent if owner == invoice.id] if invoice.stage is None else []
        if invoice.stage is not None and (invoice.id, invoice.stage) not in sent:
            result.findings.append(f"invoice {invoice.id}: its reminder {invoice.stage} was not sent")
        if stages:
            result.findings.append(f"invoice {invoice.id}: reminded {stages}, and owed nothing")
    mails = brevo["mails"]
    result.reminders_doubled = len(brevo["doubled"])
    if result.reminders_doubled:
        result.findings.append(f"{result.reminders_doubled} e-mails went out more than once")
    if len(mails) != len(sent):
        result.findings.append(f"Brevo accepted {len(mails)} e-mails, the database has {len(sent)} as sent")
    unknown = {row.message_id for row in sent.values()} - {mail["messageId"] for mail in mails}
    if unknown:
        result.findings.append(f"{len(unknown)} reminders name a message that Brevo does not know")


def _runs(connection: Connection, result: Audit) -> None:
    """U and P from the ledger: no fire twice, nothing dead."""
    doubled = connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM job_runs WHERE due_at IS NOT NULL"
            " GROUP BY schedule_id, schedule_generation, due_at HAVING count(*) > 1) twice"
        )
    ).scalar_one()
    dead = connection.execute(text("SELECT count(*) FROM job_runs WHERE state = 'dead'")).scalar_one()
    if doubled:
        result.findings.append(f"{doubled} fires have two runs")
    if dead:
        result.findings.append(f"{dead} runs are dead: cuebx runs list --state dead")
