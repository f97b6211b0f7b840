"""What the demo expects is drawn with what it puts in."""

from datetime import UTC, datetime, timedelta

import pytest

from local_stack.demo.plan import Plan, draw
from shared.core.stages import parse_stages

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)
STAGES = "-3d,0d,+3d,+7d,+14d"
TOLERANCE = timedelta(hours=24)


@pytest.fixture
def plan() -> Plan:
    return draw(7, refunds=200, invoices=500, now=NOW, stages=STAGES)


def test_a_seed_draws_the_same_plan_again(plan: Plan) -> None:
    assert draw(7, refunds=200, invoices=500, now=NOW, stages=STAGES) == plan
    assert draw(8, refunds=200, invoices=500, now=NOW, stages=STAGES) != plan


def test_every_fate_of_a_refund_occurs(plan: Plan) -> None:
    assert set(plan.refunds_by_fate) == {"succeeded", "failed", "needs_review"}
    assert sum(plan.refunds_by_fate.values()) == 200


def test_a_reminder_is_expected_exactly_where_the_latest_stage_is_owed_within_the_tolerance(
    plan: Plan,
) -> None:
    suppressed = {customer.id for customer in plan.customers if customer.suppressed}
    for invoice in plan.invoices:
        owed = [stage for stage in parse_stages(STAGES) if invoice.due_at + stage.offset <= NOW]
        fresh = bool(owed) and NOW - (invoice.due_at + owed[-1].offset) <= TOLERANCE
        expected = (
            owed[-1].name
            if fresh and invoice.status == "open" and invoice.customer_id not in suppressed
            else None
        )
        assert invoice.stage == expected
