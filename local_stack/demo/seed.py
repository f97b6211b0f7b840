"""Puts a plan into the database, as an outside program would: with the public columns alone."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from local_stack.demo.plan import Plan

CHUNK = 1000


def database_now(connection: Connection) -> datetime:
    now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return now


def insert(connection: Connection, plan: Plan) -> None:
    """All of it, in the caller's transaction."""
    _insert(
        connection,
        "customers (id, email, name, locale)",
        [{"id": c.id, "email": c.email, "name": c.name, "locale": c.locale} for c in plan.customers],
    )
    _insert(
        connection,
        "suppressions (email, reason, source)",
        [
            {"email": c.email, "reason": "hard_bounce", "source": "demo"}
            for c in plan.customers
            if c.suppressed
        ],
    )
    _insert(
        connection,
        "invoices (id, customer_id, amount_due, currency, due_at, created_at, status)",
        [
            {
                "id": i.id,
                "customer_id": i.customer_id,
                "amount_due": i.amount_due,
                "currency": i.currency,
                "due_at": i.due_at,
                "created_at": i.created_at,
                "status": i.status,
            }
            for i in plan.invoices
        ],
    )
    _insert(
        connection,
        "refunds (id, payment_intent_id, amount, currency)",
        [
            {"id": r.id, "payment_intent_id": r.payment_intent_id, "amount": r.amount, "currency": r.currency}
            for r in plan.refunds
        ],
    )


def _insert(connection: Connection, into: str, rows: Sequence[dict[str, Any]]) -> None:
    names = [name.strip() for name in into[into.index("(") + 1 : -1].split(",")]
    sql = text(f"INSERT INTO {into} VALUES ({', '.join(':' + name for name in names)})")  # noqa: S608  # our own literals
    for chunk in _chunks(rows):
        connection.execute(sql, chunk)


def _chunks(rows: Sequence[dict[str, Any]]) -> Iterable[Sequence[dict[str, Any]]]:
    return (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK))
