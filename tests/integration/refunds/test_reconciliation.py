"""Reconciliation finds what no webhook told (rule 29)."""

import importlib

import pytest
from sqlalchemy import text

from shared.core.errors import PauseQueue
from shared.core.outcomes import Done
from shared.ports import CredentialsRejected
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.hints import paid

pytestmark = pytest.mark.rule(29)


async def test_reconciliation_moves_on_what_no_webhook_told(desk: Desk, stripe: FakeGateway) -> None:
    ids = [await paid(desk, stripe, "pending") for _ in range(3)]
    for (_, made), told in zip(ids, ("succeeded", "failed", "pending"), strict=True):
        stripe.settle(made, told)
    await desk.database.rows("UPDATE refunds SET reconciled_at = now() - interval '1 hour' RETURNING 1")

    answer = await desk.reconcile()

    assert answer == Done({"read": 3, "changed": 2})
    assert [(await desk.refund(refund_id)).status for refund_id, _ in ids] == [
        "succeeded",
        "failed",
        "submitted",
    ]


async def test_succeeded_refunds_are_read_again_for_thirty_days_and_no_longer(
    desk: Desk, stripe: FakeGateway
) -> None:
    young, old = (await paid(desk, stripe))[0], (await paid(desk, stripe))[0]
    for refund_id, days in ((young, 29), (old, 31)):
        await desk.set_refund(
            refund_id,
            succeeded_at=text(f"now() - interval '{days} days'"),
            reconciled_at=text("now() - interval '2 days'"),
        )
    before = (await desk.refund(old)).reconciled_at

    assert await desk.reconcile() == Done({"read": 1, "changed": 0})

    assert (await desk.refund(old)).reconciled_at == before
    assert await desk.reconcile() == Done({"read": 0, "changed": 0})


async def test_reconciliation_is_bounded_and_begins_with_what_was_read_longest_ago(
    desk: Desk, stripe: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await paid(desk, stripe, "pending"))[0] for _ in range(4)]
    for hours, refund_id in enumerate(ids, start=1):
        await desk.set_refund(refund_id, reconciled_at=text(f"now() - interval '{hours} hours'"))
    module = importlib.import_module("worker_svc.handlers.reconcile_refunds")
    (status, every, _), *_rest = module._READ
    monkeypatch.setattr(module, "_READ", ((status, every, 2),))

    await desk.reconcile()

    ages = await desk.database.rows(
        "SELECT id FROM refunds WHERE reconciled_at > now() - interval '1 minute'"
    )
    assert {row.id for row in ages} == set(ids[2:])


async def test_reconciliation_leaves_a_refund_that_was_moved_on_meanwhile(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    await desk.set_refund(refund_id, reconciled_at=None)
    stripe.settle(made, "failed")
    retrieve = stripe.retrieve

    async def decided_meanwhile(provider_refund_id: str) -> object:
        found = await retrieve(provider_refund_id)
        await desk.set_refund(refund_id, status="succeeded")
        return found

    stripe.retrieve = decided_meanwhile  # type: ignore[assignment,method-assign]  # watched, not changed
    await desk.reconcile()

    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_a_refund_that_stripe_does_not_know_is_reported_and_left(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, _ = await paid(desk, stripe, "pending")
    await desk.set_refund(refund_id, reconciled_at=None)
    stripe.refunds.clear()

    assert await desk.reconcile() == Done({"read": 1, "changed": 0})
    assert (await desk.refund(refund_id)).status == "submitted"
    assert desk.logged("refund_missing_at_stripe")


async def test_reconciliation_with_a_rejected_key_pauses_the_queue(desk: Desk, stripe: FakeGateway) -> None:
    refund_id, _ = await paid(desk, stripe, "pending")
    await desk.set_refund(refund_id, reconciled_at=None)
    for call in ("retrieve", "check"):
        stripe.fail_always(call, CredentialsRejected("401"))

    assert isinstance(await desk.reconcile(), PauseQueue)
