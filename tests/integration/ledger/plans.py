"""What PostgreSQL plans for the statements of the ledger."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.dialects.postgresql import psycopg2 as psycopg2_dialect

from shared.db.statements import statement

BATCH = 100


def execute(url: str, sql: str, params: dict[str, Any] | None = None) -> list[Any]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def arguments(url: str) -> dict[str, Any]:
    """Literals for every parameter: a batch of runs, half of them live."""
    live = [
        row[0]
        for row in execute(url, f"SELECT id FROM job_runs WHERE finished_at IS NULL LIMIT {BATCH // 2}")
    ]
    ids = [*live, *(str(uuid4()) for _ in range(BATCH - len(live)))]
    return {
        "ids": ids,
        "attempts": [2] * BATCH,
        "states": ["succeeded"] * BATCH,
        "delays": [0.0] * BATCH,
        "run_ats": [None] * BATCH,
        "free": [False] * BATCH,
        "errors": [None] * BATCH,
        "results": [None] * BATCH,
        "args": ["{}"] * BATCH,
        "keys": [str(n) for n in range(BATCH)],
        "worker": "w",
        "lease_s": 15.0,
        "queues": ["refunds", "payment_reminders", "maintenance"],
        "per_queue": 500,
        "most": 500,
        "after": str(uuid4()),
        "older_than_s": 1.0,
        "delay_s": 1.0,
        "job": "ping",
        "queue": "maintenance",
        "priority": 5,
        "max_attempts": 10,
        "schedule_id": None,
        "counting": [],
        "only": None,
    }


def explain(url: str, name: str, *, generic: bool) -> dict[str, Any]:
    if not generic:
        return explain_with(url, name, arguments(url))
    compiled = str(statement(name).compile(dialect=asyncpg_dialect.dialect()))  # type: ignore[no-untyped-call]  # untyped there
    return _root(execute(url, f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {compiled}"))


def explain_with(url: str, name: str, values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """psycopg2 writes the values into the text: this is the plan for them."""
    sql = str(statement(name).compile(dialect=psycopg2_dialect.dialect()))  # type: ignore[no-untyped-call]  # untyped there
    return _root(execute(url, f"{before}EXPLAIN (FORMAT JSON) {sql}", values))


def _root(answer: list[Any]) -> dict[str, Any]:
    [(plan,)] = answer
    root: dict[str, Any] = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return root


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
