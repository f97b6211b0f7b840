"""What a batch of refunds costs does not grow with those that wait, nor with the history: each is looked up by its id.

As in the ledger's tests of plans, both kinds of plans count, and statistics of a moment ago as well as none.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from shared.db.engine import _BY_ID
from shared.db.statements import statement
from tests.databases import Databases

pytestmark = pytest.mark.xdist_group("plans")

WAITING, PAID = 5_000, 20_000
FILL = f"""
ALTER TABLE refunds SET (autovacuum_enabled = false);
ALTER TABLE refund_attempts SET (autovacuum_enabled = false);
ALTER TABLE job_runs SET (autovacuum_enabled = false);
INSERT INTO refunds (payment_intent_id, amount, currency, status)
SELECT 'pi_' || n, 100, 'usd', CASE WHEN n <= {WAITING} THEN 'pending' ELSE 'succeeded' END
FROM generate_series(1, {WAITING + PAID}) n;
INSERT INTO refund_attempts (refund_id, generation, idempotency_key, run_id, run_attempt)
SELECT id, 1, 'key', id, 1 FROM refunds WHERE status = 'succeeded';
INSERT INTO job_runs (job, queue, state, attempt, lease_until, finished_at)
SELECT 'process_refund', 'refunds', CASE WHEN n <= 300 THEN 'running' ELSE 'succeeded' END, 1,
  CASE WHEN n <= 300 THEN now() END, CASE WHEN n > 300 THEN now() END
FROM generate_series(1, {WAITING + PAID}) n;
"""
BY_KEY = {
    "refunds_pkey", "job_runs_pkey", "refund_attempts_pkey", "refunds_one_at_a_time",
    "refund_attempts_refund_id_generation_run_id_run_attempt_key",
}  # fmt: skip


@pytest.fixture(scope="module", params=["empty when last analysed", "analysed"])
def filled_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    url = databases.create_migrated()
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            FILL if request.param == "analysed" else "ANALYZE refunds, refund_attempts, job_runs;" + FILL
        )
        if request.param == "analysed":
            cursor.execute("ANALYZE refunds, refund_attempts, job_runs")
    yield url
    databases.drop(url)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("name", ["refund_take_many", "refund_start_many", "refund_settle_many"])
def test_a_batch_looks_its_refunds_up_by_their_ids(filled_url: str, name: str) -> None:
    compiled = str(statement(name).compile(dialect=asyncpg_dialect.dialect()))  # type: ignore[no-untyped-call]  # untyped there
    with closing(psycopg2.connect(filled_url)) as connection, connection.cursor() as cursor:
        for setting, value in _BY_ID.items():
            cursor.execute(f"SET {setting} = {value}")
        cursor.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {compiled}")
        [(plan,)] = cursor.fetchall()
    reads = [
        node for node in nodes(plan[0]["Plan"]) if node["Node Type"].endswith(("Index Scan", "Seq Scan"))
    ]

    assert {node.get("Index Name") for node in reads} <= BY_KEY
    assert all("Index Cond" in node for node in reads), json.dumps(plan, indent=1)
