"""What a page of reminders costs does not depend on what PostgreSQL knew of the tables when it saw the statement first: with
a plan from when they were empty, each row would be looked for among all others."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.dialects import postgresql

from shared.core.stages import parse_stages
from shared.db import reminder_batches, reminders
from shared.db.engine import Database
from shared.db.reminder_batches import Batch
from shared.db.reminders import Fence
from shared.db.statements import statement
from tests.integration.ledger.plans import nodes

AS_OF = datetime(2030, 1, 31, tzinfo=UTC)
FENCE = Fence(uuid4(), 1)
STAGES = parse_stages("0d")
#: From the sixth time on PostgreSQL would keep one plan for all values.
TIMES = 8
INVOICES = 20_000
FILL = (
    "ALTER TABLE invoices SET (autovacuum_enabled = false)",
    "ALTER TABLE customers SET (autovacuum_enabled = false)",
    "INSERT INTO customers (email, name) SELECT n || '@example.com', 'n' FROM generate_series(1, 200) n",
    f"""INSERT INTO invoices (customer_id, amount_due, currency, due_at)
        SELECT c.id, 100, 'usd', '2030-01-01'::timestamptz + n * interval '1 minute'
        FROM generate_series(1, {INVOICES // 200}) n, customers c""",
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One connection for all statements."""
    database = Database(database_url, application="test", bound_s=10, pool_size=1)
    yield database
    await database.close()


async def test_no_statement_of_a_batch_keeps_a_plan_from_when_the_tables_were_empty(
    database: Database,
) -> None:
    batch = Batch(uuid4(), "tag", uuid4(), "sending", 1, [])
    for _ in range(TIMES):
        async with database.begin() as db:
            await reminders.owed(db, STAGES, as_of=AS_OF, tolerance=timedelta(days=1), most=100)
        async with database.begin() as db:
            await reminders.insert(db, [], batch.id, FENCE)
        async with database.begin() as db:
            await reminder_batches.begin_call(db, batch.id, FENCE)
        async with database.begin() as db:
            await reminder_batches.record_sent(db, batch, FENCE, [])

    sql = "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE starts_with(statement, :line)"
    for name in ("reminder_owed", "reminder_insert", "reminder_call", "reminder_sent"):
        kept = await database.rows(sql, line=str(statement(name)).splitlines()[0])
        assert kept == [(TIMES, 0)], name


PAGE = {
    "stage": "0d",
    "after": timedelta(0),
    "since": AS_OF - timedelta(days=60),
    "until": AS_OF,
    "next_since": datetime(1, 1, 1, tzinfo=UTC),
    "after_at": datetime(2030, 1, 1, 1, tzinfo=UTC),
    "after_id": UUID(int=0),
    "end_at": AS_OF,
    "end_id": UUID(int=0),
    "most": 500,
}


async def fill(database: Database, *statements: str) -> None:
    for sql in statements:
        async with database.begin() as db:
            await db.exec_driver_sql(sql)


async def plan_of_a_page(database: Database) -> dict[str, Any]:
    """As it was executed."""
    compiled = statement("reminder_owed").bindparams(**PAGE)
    literal = compiled.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    async with database.begin() as db:
        row = (await db.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {literal}")).scalar_one()
    plan: dict[str, Any] = (json.loads(row) if isinstance(row, str) else row)[0]["Plan"]
    return plan


async def test_a_page_is_a_range_of_the_index_in_tables_that_were_never_analysed(
    database: Database,
) -> None:
    await fill(database, *FILL)

    plan = await plan_of_a_page(database)

    reads = [node for node in nodes(plan) if node.get("Relation Name") == "invoices"]
    assert [(node["Node Type"], node["Index Name"]) for node in reads] == [("Index Scan", "invoices_open")]
    assert plan["Actual Rows"] == PAGE["most"]
    # One page of them, and not all that are left, sorted.
    assert reads[0]["Actual Rows"] <= 2 * PAGE["most"]


@pytest.mark.parametrize("analysed", ["before the first reminder", "afterwards", "never"])
async def test_a_page_reads_its_own_customers_and_reminders_however_many_others_there_are(
    database: Database, analysed: str
) -> None:
    """As in a run of a hundred thousand, whose reminders PostgreSQL has not counted yet."""
    await fill(database, "ALTER TABLE payment_reminders SET (autovacuum_enabled = false)", *FILL)
    if analysed == "before the first reminder":
        await fill(database, "ANALYZE")
    await fill(
        database,
        "INSERT INTO customers (email, name) SELECT n || '@example.org', 'n' FROM generate_series(1, 20000) n",
        "INSERT INTO payment_reminders (invoice_id, customer_id, stage, status, email)"
        " SELECT id, customer_id, stage, 'skipped', 'n' FROM invoices, unnest(ARRAY['0d', '+3d']) stage"
        " WHERE due_at < '2030-01-01 01:10'",
    )
    if analysed == "afterwards":
        await fill(database, "ANALYZE")

    plan = await plan_of_a_page(database)

    assert plan["Actual Rows"] == PAGE["most"]
    for table in ("customers", "payment_reminders"):
        reads = [node for node in nodes(plan) if node.get("Relation Name") == table]
        assert [node.get("Index Cond") is not None for node in reads] == [True], json.dumps(plan, indent=1)
        assert reads[0]["Actual Rows"] <= 1
