"""The cost of the ledger's statements does not grow with its history: no plan reads it whole.

Both plans count: the one PostgreSQL makes for given values, and the generic one that it may keep for a statement that
was prepared. Both states of the statistics count: a ledger filled a moment ago, and one that was analysed.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.dialects.postgresql import psycopg2 as psycopg2_dialect

from shared.db.statements import statement
from tests.databases import Databases

HISTORY = 200_000
LIVE = 300
BATCH = 100

FILL = f"""
ALTER TABLE job_runs SET (autovacuum_enabled = false);
INSERT INTO job_runs (job, queue, state, attempt, enqueued_at, run_at, started_at, finished_at, key)
SELECT 'ping', 'maintenance', (ARRAY['succeeded', 'dead', 'cancelled', 'skipped'])[1 + n % 4], 1,
  now() - n * interval '1 second', now() - n * interval '1 second', now(), now() - n * interval '1 second',
  CASE WHEN n % 2 = 0 THEN n::text END
FROM generate_series(1, {HISTORY}) n;
INSERT INTO job_runs (job, queue, state, attempt, lease_until, queued_at)
SELECT 'ping', 'maintenance', state, 1, CASE WHEN state = 'running' THEN now() END, now()
FROM generate_series(1, {LIVE}) n, unnest(ARRAY['pending', 'queued', 'running']) state;
"""
#: Partial indexes: they hold nothing that has finished.
OF_LIVE_RUNS = {
    "job_runs_ready",
    "job_runs_queued",
    "job_runs_leases",
    "job_runs_live_schedule",
    "job_runs_one_running",
    "job_runs_series",
}
STATEMENTS = [
    "claim",
    "finish",
    "heartbeat",
    "relay_mark",
    "relay_pick",
    "sweep_pick",
    "queued_page",
    "unqueue",
    "enqueue",
    "fire_due",
]


@pytest.fixture(scope="module", params=["freshly filled", "analysed"])
def ledger_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    url = databases.create_migrated()
    execute(url, FILL)
    if request.param == "analysed":
        execute(url, "ANALYZE job_runs")
    yield url
    databases.drop(url)


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


@pytest.mark.rule(22)
@pytest.mark.parametrize("generic", [False, True], ids=["for these values", "generic"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_the_ledger_whole(ledger_url: str, name: str, generic: bool) -> None:
    plan = explain(ledger_url, name, generic=generic)

    reads = [node for node in nodes(plan) if _reads_ledger(node)]
    assert reads or name == "enqueue"
    assert [node for node in reads if not _bounded(node)] == [], json.dumps(plan, indent=1)


def _reads_ledger(node: dict[str, Any]) -> bool:
    """Bitmap heap scans do as well, but their index scans below say how."""
    return node.get("Index Name", "").startswith("job_runs") or (
        node["Node Type"] in ("Seq Scan", "Sample Scan") and node.get("Relation Name") == "job_runs"
    )


def _bounded(node: dict[str, Any]) -> bool:
    return "Index Cond" in node or node.get("Index Name") in OF_LIVE_RUNS


DUE = """
INSERT INTO schedules (id, store, job_state, next_run_time)
SELECT 'due-' || n, 'maintenance', '{}', 1e9 FROM generate_series(%(first)s, %(last)s) n
"""


@pytest.mark.parametrize("left", ["nothing", "id <= 'due-1000'"])
def test_one_of_many_that_fire_in_the_same_second_is_looked_up_by_its_id(
    databases: Databases, left: str
) -> None:
    """As at midnight, with statistics that were taken when the last ones had ended, or nearly all."""
    url = databases.create_migrated()
    execute(url, "ALTER TABLE scheduler_maintenance_jobs SET (autovacuum_enabled = false)")
    execute(url, DUE, {"first": 1, "last": 10_000})
    execute(url, f"DELETE FROM schedules WHERE NOT ({'false' if left == 'nothing' else left})")
    execute(url, "ANALYZE")
    execute(url, DUE, {"first": 20_001, "last": 30_000})
    fires = {
        "stores": "maintenance",
        "generations": 1,
        "was": 1e9,
        "next": None,
        "jobs": "ping",
        "queues": "maintenance",
        "args": "{}",
        "priorities": 5,
        "max_attempts": 10,
        "overlaps": "allow",
        "due_ats": "2001-09-09T01:46:40Z",
        "coalesced": 0,
        "skipped": None,
    }
    count = 1000
    values: dict[str, Any] = {name: [value] * count for name, value in fires.items()}
    values |= {"ids": [f"due-{20_000 + n}" for n in range(1, count + 1)], "ns": list(range(1, count + 1))}

    plan = explain_with(
        url, "fire", values, before="SET enable_seqscan = off;"
    )  # as the firing engine has it (`by_index`)

    reads = [
        node["Index Name"] for node in nodes(plan) if "scheduler_maintenance" in node.get("Index Name", "")
    ]
    whole = [n for n in nodes(plan) if n["Node Type"] == "Seq Scan" and "ANY" in n.get("Filter", "")]
    assert [n for n in whole if n["Relation Name"] == "scheduler_maintenance_jobs"] == []
    assert set(reads) == {"scheduler_maintenance_jobs_pkey"}, json.dumps(plan, indent=1)
    databases.drop(url)
