"""Pending refunds for workers, and what the provider's books say of them."""

import time
from collections import Counter
from typing import Any

from benchmarks.enqueueing import enqueue
from benchmarks.ours import Ours
from benchmarks.watching import wait_for_none
from shared.jobs import PROCESS_PENDING_REFUNDS

_FORGET = "TRUNCATE refunds, refund_attempts CASCADE"
_PENDING = """
INSERT INTO refunds (payment_intent_id, amount, currency)
SELECT 'pi_usd_a5000_' || CAST(:name AS text) || 'n' || n, 100 + n * 37 % 4900, 'usd'
FROM generate_series(1, CAST(:count AS int)) n
"""
_LEFT = "SELECT count(*) AS left FROM refunds WHERE status IN ('pending', 'processing')"
_OURS = """
SELECT CAST(f.id AS text) AS id, f.amount, f.status, f.provider_refund_id,
  (SELECT count(*) FROM refund_attempts a WHERE a.refund_id = f.id) AS attempts
FROM refunds f
"""


def pending(ours: Ours, count: int, name: str) -> None:
    """So many approved refunds, of payments that nobody has refunded yet."""
    ours.rows(_FORGET)
    ours.rows(_PENDING, count=count, name=name)
    for table in ("refunds", "refund_attempts", "job_runs"):
        ours.rows(f"ANALYZE {table}")


def pay(ours: Ours, limit_s: float = 240) -> float:
    """Sweeps them into the queue and waits until none is left; seconds. Raises RuntimeError after `limit_s`."""
    began = time.monotonic()
    enqueue(ours, PROCESS_PENDING_REFUNDS, [{}])
    wait_for_none(ours, _LEFT, limit_s)
    return time.monotonic() - began


def created_at(books: dict[str, Any]) -> list[float]:
    """When the provider made each, in order."""
    return sorted(refund["created"] for refund in books["refunds"])


def audit(ours: Ours, books: dict[str, Any], count: int) -> str:
    """Each refund once and to the cent, in both books; what is wrong, or empty."""
    rows = {row.id: row for row in ours.rows(_OURS)}
    told = Counter(refund["metadata"].get("refund_id") for refund in books["refunds"])
    wrong = []
    if len(rows) != count or len(told) != count or len(books["refunds"]) != count:
        wrong.append(
            f"{count} in, {len(rows)} rows, {len(told)} ids in {len(books['refunds'])} refunds at Stripe"
        )
    for refund in books["refunds"]:
        row = rows.get(refund["metadata"].get("refund_id"))
        if row is None or (row.amount, row.status, row.provider_refund_id) != (
            refund["amount"], refund["status"], refund["id"]
        ):  # fmt: skip
            wrong.append(f"{refund['id']} of {refund['amount']} is {row} with us")
    ours_cents = sum(row.amount for row in rows.values())
    theirs = sum(refund["amount"] for refund in books["refunds"])
    if ours_cents != theirs:
        wrong.append(f"{ours_cents} cents with us, {theirs} at Stripe")
    return "; ".join(wrong[:5])
