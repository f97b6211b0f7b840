"""The statements about batches, as `shared/db/sql/reminder_*.sql` have them: each a compare-and-set on its attempt."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.model.money.database import Row, Session
from tests.model.money.ledger_sql import holds, live
from tests.model.money.reminder_sql import OPEN, members, suppressed


def new_batch(s: Session, batch_id: UUID, content: str, **columns: Any) -> Row:
    defaults: dict[str, Any] = dict.fromkeys(
        ["parent_id", "run_id", "run_attempt", "first_call_at", "last_call_at", "error"]
    )
    defaults |= {"finished_at": None, "followed_up_at": None, "status": "pending", "calls": 0}
    defaults |= {
        "tag": f"reminders-{batch_id}",
        "idempotency_key": uuid4(),
        "created_at": s.database.stage.now,
    }
    return s.insert("reminder_batches", id=batch_id, content=json.loads(content), **{**defaults, **columns})


def _mine(s: Session, p: Row, *statuses: str) -> Row | None:
    """The batch, where this attempt has it and its run, in one of these statuses."""
    b = s.database.tables["reminder_batches"].get(p.id)
    if b is None or (b.run_id, b.run_attempt) != (p.run_id, p.run_attempt) or b.status not in statuses:
        return None
    return b if holds(s, p.run_id, p.run_attempt) else None


def freeze(s: Session, p: Row) -> list[Row]:
    if holds(s, p.run_id, p.run_attempt) is None:
        return []
    owner = {"run_id": p.run_id, "run_attempt": p.run_attempt}
    return [new_batch(s, p.id, p.content, tag=p.tag, parent_id=p.parent_id, **owner)]


def adopt(s: Session, p: Row) -> list[Row]:
    def free(b: Row) -> bool:
        if b.status not in p.statuses or b.id in p.seen or (p.only_own and b.run_id != p.run_id):
            return False
        if (b.run_id, b.run_attempt) == (p.run_id, p.run_attempt):
            return False
        due = s.database.tables["job_runs"][p.run_id].run_at
        read = b.followed_up_at
        if b.status == "unconfirmed" and read is not None and due <= read <= s.database.stage.now:
            return False
        return b.run_id is None or b.run_id == p.run_id or not live(s, b.run_id)

    found = [b for b in s.database.tables["reminder_batches"].values() if free(b)]
    if not found or holds(s, p.run_id, p.run_attempt) is None:
        return []
    b, now = s.put(found[0], run_id=p.run_id, run_attempt=p.run_attempt), s.database.stage.now
    age, since = (None if at is None else now - at for at in (b.first_call_at, b.last_call_at))
    told = any(each.status not in OPEN for each in members(s, b.id))
    return [Row(**{**vars(b), "age": age, "since_last_call": since, "accepted": told})]


def drop(s: Session, p: Row) -> list[Row]:
    b = _mine(s, p, "pending")
    if b is None or b.calls:
        return []
    stale = b.parent_id is None and b.created_at < s.database.stage.now - p.frozen_for
    gone = set()
    for r in members(s, b.id, "pending"):
        invoice = s.database.tables["invoices"].get(r.invoice_id)
        if stale and invoice is not None:
            s.delete("payment_reminders", r)
        elif suppressed(s, r.email) or (invoice is not None and invoice.status != "open"):
            s.put(r, batch_id=None, status="suppressed" if suppressed(s, r.email) else "skipped")
        else:
            continue
        gone.add(str(r.id))
    if not gone:
        return []
    left = [m for m in b.content["members"] if m["id"] not in gone]
    return [s.put(b, content={"members": left}, status=b.status if left else "void")]


def call(s: Session, p: Row) -> list[Row]:
    b, now = _mine(s, p, *OPEN), s.database.stage.now
    if b is None or (b.first_call_at is not None and b.first_call_at <= now - p.repeat_within):
        return []
    if b.calls and any(r.status not in OPEN for r in members(s, b.id)):
        return []
    s.put(b, status="sending", calls=b.calls + 1, first_call_at=b.first_call_at or now, last_call_at=now)
    for r in members(s, b.id, "pending"):
        s.put(r, status="sending")
    return [b]


def uncall(s: Session, p: Row) -> list[Row]:
    b = _mine(s, p, "sending")
    if b is None:
        return []
    s.put(b, calls=b.calls - 1, error=p.error)
    if not b.calls:
        s.put(b, status="pending", first_call_at=None)
        for r in members(s, b.id, "sending"):
            s.put(r, status="pending")
    return [b]


def sent(s: Session, p: Row) -> list[Row]:
    b = _mine(s, p, "sending")
    if b is None:
        return []
    s.put(b, status="sent", finished_at=s.database.stage.now)
    for reminder_id, message_id in zip(p.members, p.message_ids, strict=True):
        r = s.database.tables["payment_reminders"][reminder_id]
        s.put(r, message_id=message_id, status="sent" if r.status in OPEN else r.status)
    return [b]


def unconfirmed(s: Session, p: Row) -> list[Row]:
    b = _mine(s, p, "sending")
    if b is None:
        return []
    s.put(b, status="unconfirmed", error=p.error)
    for r in members(s, b.id, *OPEN):
        s.put(r, status="unconfirmed")
    return [b]


def refused(s: Session, p: Row) -> list[Row]:
    b = _mine(s, p, "sending")
    if b is None or b.calls != 1:
        return []
    s.put(b, status=p.status, error=p.error, finished_at=s.database.stage.now)
    for r in members(s, b.id) if p.status == "failed" else []:
        s.put(r, status="failed", reason=p.error)
    return [b]


def move(s: Session, p: Row) -> list[Row]:
    moved = [r for r in members(s, p.parent_id) if r.id in p.members]
    return [s.put(r, batch_id=p.batch_id, status="pending") for r in moved]


def park(s: Session, p: Row) -> list[Row]:
    b, parked = _mine(s, p, "unconfirmed"), 0
    if b is not None:
        s.put(b, status="needs_review", run_id=None, run_attempt=None)
        for r in members(s, b.id, "unconfirmed"):
            s.put(r, status="needs_review", reason=p.reason)
            parked += 1
    return [Row(parked=parked)]


def release(s: Session, p: Row) -> list[Row]:
    b = s.database.tables["reminder_batches"][p.id]
    if (b.run_id, b.run_attempt, b.status) == (p.run_id, p.run_attempt, "unconfirmed"):
        read = s.database.stage.now if p.read else b.followed_up_at
        s.put(b, run_id=None, run_attempt=None, followed_up_at=read)
    return []


def settle(s: Session, p: Row) -> list[Row]:
    batches = [s.database.tables["reminder_batches"][each] for each in p.ids]
    for b in batches:
        unsettled = members(s, b.id, *OPEN, "unconfirmed", "needs_review")
        if b.status in ("unconfirmed", "needs_review") and not unsettled:
            s.put(b, status="sent", finished_at=s.database.stage.now, followed_up_at=None)
    return []


def follow_up(s: Session, p: Row) -> list[Row]:
    now: Any = s.database.stage.now
    late: timedelta = p.after
    for b in s.database.rows("reminder_batches", status="sent", followed_up_at=None):
        if b.finished_at < now - late and holds(s, p.run_id, p.run_attempt):
            return [s.put(b, followed_up_at=now)]
    return []


def reopen(s: Session, p: Row) -> list[Row]:
    new_batch(s, p.batch_id, p.content, parent_id=p.parent_id)
    r = s.database.tables["payment_reminders"][p.id]
    return [s.put(r, batch_id=p.batch_id, status="pending", message_id=None, email=p.email, reason=None)]


_BY_NAME: dict[str, Callable[[Session, Row], list[Row]]] = {
    "freeze": freeze, "adopt": adopt, "drop": drop, "call": call, "uncall": uncall, "sent": sent, "move": move,
    "unconfirmed": unconfirmed, "refused": refused, "park": park, "release": release, "settle": settle,
    "follow_up": follow_up, "reopen": reopen,
}  # fmt: skip
SQL = {f"reminder_{name}": function for name, function in _BY_NAME.items()}
