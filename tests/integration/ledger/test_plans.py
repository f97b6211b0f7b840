"""The cost of the ledger's statements does not grow with its history: no plan reads it whole.

Both plans count: the one PostgreSQL makes for given values, and the generic one that it may keep for a statement that
was prepared. Both states of the statistics count: a ledger filled a moment ago, and one that was analysed.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.databases import Databases
from tests.integration.ledger.plans import execute, explain, explain_with, nodes

HISTORY = 200_000
LIVE = 300

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
