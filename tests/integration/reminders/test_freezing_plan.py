"""What freezing a batch costs does not grow with the number of customers."""

import json
from uuid import uuid4

import pytest
from sqlalchemy import text

from shared.db.statements import statement
from tests.integration.reminders.world import World

CUSTOMERS, BATCH = 30_000, 500
FILL = """
WITH c AS (INSERT INTO customers (email) SELECT n || '@example.com' FROM generate_series(1, :n) n RETURNING id)
INSERT INTO invoices (customer_id, amount_due, currency, due_at) SELECT id, 100, 'EUR', now() FROM c RETURNING id
"""


@pytest.mark.parametrize("analysed", [False, True], ids=["freshly-filled", "analysed"])
async def test_freezing_a_batch_does_not_read_all_customers(world: World, analysed: bool) -> None:
    invoices = [row.id for row in await world.database.rows(FILL, n=CUSTOMERS)][:BATCH]
    params = {
        "ids": [uuid4() for _ in invoices],
        "invoices": invoices,
        "stages": ["0d"] * BATCH,
        "versions": ["1 1"] * BATCH,
        "failures": [None] * BATCH,
        "batch_id": uuid4(),
        "run_id": uuid4(),
        "run_attempt": 1,
    }
    async with world.database.begin() as db:
        if analysed:
            await db.execute(text("ANALYZE customers, invoices"))
        await db.execute(statement("plan_anew"))
        explained = text(f"EXPLAIN (FORMAT JSON) {statement('reminder_insert').text}")
        plan = json.dumps((await db.execute(explained, params)).scalar())

    assert '"Index Name": "customers_pkey"' in plan
    assert plan.count('"Relation Name": "customers"') == 1, plan
