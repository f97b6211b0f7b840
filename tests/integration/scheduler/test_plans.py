"""A look at what is due finds it in every store, at the same cost however many schedules there are."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.dialects import postgresql

from scheduler_svc.reading import DueSchedules, single_statements
from shared.core.jobspec import Queue
from shared.db.engine import sync_engine
from shared.db.statements import statement
from shared.jobs import JOBS
from tests.integration.ledger.plans import nodes

FUTURE = 30_000
VALUES = {
    "queues": f"'{{{','.join(Queue)}}}'",
    "most": "1000",
    "counting": "'{}'",
    "only": "NULL",
}
GROW = f"""
INSERT INTO schedules (id, store, job_state, next_run_time)
SELECT 'future-' || n, (ARRAY['maintenance', 'refunds', 'payment_reminders'])[n % 3 + 1], '{{}}', 4e9 + n
FROM generate_series(1, {FUTURE}) n
"""


def test_a_look_that_was_planned_when_the_stores_were_empty_reads_what_is_due(database_url: str) -> None:
    """As after an operator has added a million at once, until somebody has analysed the tables."""
    engine = single_statements(
        sync_engine(
            database_url,
            application="test",
            bound_s=30,
            pool_size=1,
            by_index=True,
            planned_once=["fire_due"],
        )
    )
    params: dict[str, Any] = {"queues": list(Queue), "most": 1000, "counting": [], "only": None}
    with engine.connect() as look:
        look.execute(statement("fire_due"), params)
        for store in ("refunds", "payment_reminders", "maintenance"):
            look.execute(text(f"ALTER TABLE scheduler_{store}_jobs SET (autovacuum_enabled = false)"))
        look.execute(statement("fire_due"), params)  # with the plan of an empty store
        look.execute(text(GROW))

        name = look.execute(
            text("SELECT name FROM pg_prepared_statements WHERE starts_with(name, 'cuebx_fire_due')")
        ).scalar_one()
        numbering: Any = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        order = statement("fire_due").compile(dialect=numbering).positiontup or ()
        values = ", ".join(VALUES[parameter] for parameter in order)
        found = look.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name}({values})").scalar_one()
    engine.dispose()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]

    reads = [node for node in nodes(plan) if node.get("Relation Name", "").startswith("scheduler_")]
    assert len(reads) >= 3, json.dumps(plan, indent=1)
    whole = [
        node for node in reads if node["Actual Rows"] + node.get("Rows Removed by Filter", 0) > FUTURE / 10
    ]
    assert whole == []


@pytest.mark.parametrize("store", Queue)
def test_every_store_there_is_has_its_branch(engine: Engine, store: Queue) -> None:
    """A new queue's schedules would wait for ever where the look does not name their table."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO schedules (id, store, job_state, next_run_time) VALUES ('due', :store, '{}', 1)"
            ),
            {"store": store.value},
        )

    look = DueSchedules(single_statements(engine), JOBS).read([])

    assert [(row.id, row.store) for row, _ in look.broken] == [("due", store.value)]
