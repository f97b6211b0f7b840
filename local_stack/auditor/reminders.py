"""M for e-mails: Brevo's books against ours, mail by mail; and L: every reminder that is owed has its row, and an end.

A mail is told by its call's tag, which names the batch, and by its place in the call, which names the batch's member.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from local_stack.auditor.findings import Finding
from local_stack.auditor.history import History
from local_stack.auditor.known import Books, Known, Rest
from shared.core.stages import parse_stages

#: Reminders in these were certainly not sent, in those the provider may have been asked.
_NEVER_SENT = frozenset({"pending", "skipped"})
_OPEN = frozenset({"pending", "sending"})


def check(history: History, known: Known, rest: Rest | None, brevo: Books | None) -> Iterator[Finding]:
    if brevo is not None:
        yield from _books(history, brevo["mails"])
    yield from _complete(history, known, rest)


def _books(history: History, mails: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    members = {
        batch.tag: [(UUID(member["id"]), member["email"]) for member in batch.content["members"]]
        for batch in history.batches
    }
    keys = {batch.tag: str(batch.idempotency_key) for batch in history.batches}
    sent: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for mail in mails:
        tag = next((tag for tag in mail["tags"] if tag in members), None)
        frozen = members[tag][mail["version"]] if tag and mail["version"] < len(members[tag]) else None
        if frozen is None or frozen[1].strip().lower() != mail["email"].strip().lower():
            yield Finding("M", f"mail {mail['messageId']}", f"went to {mail['email']}, and no batch has it")
            continue
        if mail["key"] != keys[tag]:
            yield Finding("M", f"mail {mail['messageId']}", f"was sent under another key than that of {tag}")
        sent[frozen[0]].append(mail)
    rows = {row.id: row for row in history.reminders}
    for reminder_id in sent.keys() - rows.keys():
        yield Finding("M", f"reminder {reminder_id}", "was sent, and the database does not know it")
    again = Counter(row.subject_id for row in history.audit if row.action == "resend")
    by_hand = {row.subject_id for row in history.audit if row.action == "mark-sent"}
    for row in history.reminders:
        yield from _once(row, sent[row.id], 1 + again[str(row.id)], str(row.id) in by_hand)


def _once(row: Any, mails: Sequence[Mapping[str, Any]], most: int, by_hand: bool) -> Iterator[Finding]:
    subject = f"reminder {row.id}"
    ids = ", ".join(mail["messageId"] for mail in mails)
    if len(mails) > most:
        yield Finding("M", subject, f"went out {len(mails)} times: {ids}")
    elif row.status == "sent" and not mails and not by_hand:
        yield Finding("M", subject, "is sent here, and Brevo has no such mail")
    elif row.status in _NEVER_SENT and mails and most == 1:
        yield Finding("M", subject, f"is {row.status} here, and Brevo has sent {ids}")
    if row.message_id is not None and row.message_id not in {mail["messageId"] for mail in mails}:
        yield Finding("M", subject, f"names the message {row.message_id}, which Brevo does not have for it")


def _complete(history: History, known: Known, rest: Rest | None) -> Iterator[Finding]:
    rows = {(row.invoice_id, row.stage): row for row in history.reminders if row.invoice_id is not None}
    for (invoice_id, stage), times in Counter(
        (row.invoice_id, row.stage) for row in history.reminders if row.invoice_id is not None
    ).items():
        if times > 1:
            yield Finding("M", f"invoice {invoice_id}", f"has {times} reminders {stage}")
    for (invoice_id, stage), allowed in known.reminders.items():
        status = rows[invoice_id, stage].status if (invoice_id, stage) in rows else "missing"
        if status == "missing" or (allowed and status not in allowed):
            expected = " or ".join(sorted(allowed)) or "there"
            yield Finding("L", f"invoice {invoice_id}", f"its reminder {stage} is {status}, not {expected}")
    if rest is None:
        return
    for row in history.reminders:
        if row.status in _OPEN:
            yield Finding("L", f"reminder {row.id}", f"is still {row.status} at rest")
    if known.stages is not None:
        yield from _owed(history, known, rest.at, rows.keys())


def _owed(history: History, known: Known, at: datetime, rows: Any) -> Iterator[Finding]:
    assert known.stages is not None
    for invoice in history.invoices:
        if invoice.status != "open" or invoice.amount_due == 0:
            continue
        for stage in parse_stages(known.stages):
            due = invoice.due_at + stage.offset
            told = (invoice.id, stage.name) in known.reminders
            if invoice.created_at <= due <= at and (invoice.id, stage.name) not in rows and not told:
                yield Finding(
                    "L", f"invoice {invoice.id}", f"its reminder {stage.name} is owed, and has no row"
                )
