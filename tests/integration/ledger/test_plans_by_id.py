"""Claim and finish look runs up by their ids, whatever PostgreSQL knew of the ledger when it made the plan, and keeps: a plan
made when the ledger was empty reads it whole, one made when all of it ran reads the index of what runs."""

from urllib.parse import quote

import pytest

from shared.db.engine import Database
from tests.integration.ledger.plans import execute, explain, nodes

RUNS = 20_000
FILL = f"""
INSERT INTO job_runs (job, queue, state, attempt, lease_until)
SELECT 'ping', 'maintenance', 'running', 1, now() FROM generate_series(1, {RUNS})
"""
END = "UPDATE job_runs SET state = 'succeeded', lease_until = NULL, finished_at = now()"
HISTORIES = {
    "empty": ["ANALYZE job_runs"],
    "analysed when it was empty": ["ANALYZE job_runs", FILL],
    "analysed when all of it ran": [FILL, "ANALYZE job_runs", END],
    "analysed when it had ended": [FILL, END, "ANALYZE job_runs"],
}


@pytest.fixture
async def workers_url(database_url: str) -> str:
    """Connects as a worker's database of the ledger does, to an empty ledger that nobody analyses."""
    database = Database(database_url, application="test", bound_s=10, by_id=True)
    planner = await database.rows(
        "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name LIKE 'enable%'"
    )
    await database.close()
    execute(database_url, "ALTER TABLE job_runs SET (autovacuum_enabled = false)")
    return f"{database_url}?options={quote(' '.join(f'-c {name}={value}' for name, value in planner))}"


@pytest.mark.parametrize("history", HISTORIES)
async def test_claim_and_finish_read_the_primary_key_alone(workers_url: str, history: str) -> None:
    for sql in HISTORIES[history]:
        execute(workers_url, sql)

    for name in ("claim", "finish"):
        for generic in (False, True):
            found = list(nodes(explain(workers_url, name, generic=generic)))
            reads = {node["Index Name"] for node in found if "Index Name" in node}
            assert {index for index in reads if index.startswith("job_runs")} == {"job_runs_pkey"}, name
            assert not [node for node in found if node["Node Type"] in ("Hash Join", "Merge Join")], name
            whole = [node for node in found if node["Node Type"] == "Seq Scan"]
            assert [node for node in whole if node["Relation Name"] == "job_runs"] == [], name
