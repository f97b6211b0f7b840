"""M for refunds: Stripe's books against ours, to the cent; and L: none that was accepted is missing."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local_stack.auditor.findings import Finding
from local_stack.auditor.history import History
from local_stack.auditor.known import Books, Known, Rest
from shared.core.states import LIVE

#: Of a refund at Stripe: it pays nothing (any more).
VOID = frozenset({"failed", "canceled"})
#: What Stripe may have in force for a refund that is at rest, by our status. What is parked may be either.
_AT_STRIPE: Mapping[str, frozenset[str]] = {
    "submitted": frozenset({"pending", "requires_action"}),
    "succeeded": frozenset({"succeeded"}),
}


def check(history: History, known: Known, rest: Rest | None, stripe: Books | None) -> Iterator[Finding]:
    if stripe is not None:
        yield from _books(history, stripe["refunds"], rest)
    yield from _complete(history, known, rest)


def _books(history: History, booked: Sequence[Mapping[str, Any]], rest: Rest | None) -> Iterator[Finding]:
    rows = {str(row.id): row for row in history.refunds}
    keys = {row.idempotency_key for row in history.attempts}
    by_hand = {row.subject_id for row in history.audit if row.action == "mark-succeeded"}
    ours: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in booked:
        named = entry["metadata"].get("refund_id")
        if named in rows:
            ours[named].append(entry)
            yield from _same(rows[named], entry)
            if entry["idempotency_key"] not in keys:
                yield Finding(
                    "M", f"refund {named}", f"Stripe's {entry['id']} was made without an attempt on record"
                )
        elif named is not None or entry["idempotency_key"] is not None:
            # One with neither was made by somebody else, in Stripe's dashboard.
            yield Finding(
                "M", f"refund {named}", f"Stripe has {entry['id']}, and the database does not know it"
            )
    for refund_id, row in rows.items():
        yield from _once(row, ours[refund_id])
        if str(row.id) not in by_hand:
            yield from _agree(row, ours[refund_id], rest)


def _same(row: Any, entry: Mapping[str, Any]) -> Iterator[Finding]:
    asked = (row.amount, row.currency.lower(), row.payment_intent_id)
    paid = (entry["amount"], entry["currency"].lower(), entry["payment_intent"])
    if asked != paid:
        yield Finding("M", f"refund {row.id}", f"is of {asked}, and Stripe's {entry['id']} of {paid}")


def _once(row: Any, entries: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    subject = f"refund {row.id}"
    in_force = [entry for entry in entries if entry["status"] not in VOID]
    generations = Counter(entry["metadata"].get("generation") for entry in entries)
    if len(in_force) > 1:
        ids = ", ".join(entry["id"] for entry in in_force)
        yield Finding("M", subject, f"is paid {len(in_force)} times: {ids}")
    elif max(generations.values(), default=0) > 1:
        yield Finding("M", subject, "was created at Stripe more than once for one generation")
    known_ids = {entry["id"] for entry in entries}
    if row.provider_refund_id is not None and row.provider_refund_id not in known_ids:
        yield Finding("M", subject, f"names {row.provider_refund_id}, which Stripe does not have for it")


def _agree(row: Any, entries: Sequence[Mapping[str, Any]], rest: Rest | None) -> Iterator[Finding]:
    """While things go on Stripe is ahead of us: its webhook, or our reading, comes later."""
    subject = f"refund {row.id}"
    in_force = [entry for entry in entries if entry["status"] not in VOID]
    if len(in_force) > 1:
        return
    named = [entry for entry in entries if entry["id"] == row.provider_refund_id]
    agreed = [e for e in named if rest is None or e["status"] in _AT_STRIPE.get(row.status, ())]
    if row.status in _AT_STRIPE and not agreed:
        shown = ", ".join(f"{e['id']} {e['status']}" for e in entries) or "nothing"
        yield Finding("M", subject, f"is {row.status} here, and Stripe has {shown}")
    elif row.status == "failed" and in_force:
        yield Finding("M", subject, f"is failed here, and Stripe's {in_force[0]['id']} is in force")


def _complete(history: History, known: Known, rest: Rest | None) -> Iterator[Finding]:
    rows = {row.id: row for row in history.refunds}
    for refund_id, allowed in known.refunds.items():
        if refund_id not in rows:
            yield Finding("L", f"refund {refund_id}", "was accepted, and has no row")
        elif allowed and rows[refund_id].status not in allowed:
            expected = " or ".join(sorted(allowed))
            yield Finding("M", f"refund {refund_id}", f"is {rows[refund_id].status}, not {expected}")
    if rest is None:
        return
    live = {run.id for run in history.runs if run.state in LIVE}
    for row in history.refunds:
        # One whose run lives waits for that, and whether the run is late is T's question.
        if row.status in ("pending", "processing") and row.run_id not in live:
            yield Finding("L", f"refund {row.id}", f"is still {row.status} at rest, and no run has it")
