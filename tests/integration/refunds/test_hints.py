"""Webhooks are hints, and reconciliation is their backstop (rule 29)."""

import importlib
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.core.errors import PauseQueue
from shared.core.outcomes import Done, Recorded, Retry, Snooze
from shared.ports import CredentialsRejected, OutcomeUnknown
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

pytestmark = pytest.mark.rule(29)


def ours(refund_id: object, generation: int = 1) -> dict[str, str]:
    return {"refund_id": str(refund_id), "generation": str(generation)}


async def paid(desk: Desk, stripe: FakeGateway, status: str = "succeeded") -> tuple[UUID, str]:
    """A refund that Stripe has told as `status`; its id there."""
    stripe.first_status = status
    refund_id = await desk.add_refund(amount=10)
    await desk.pay(refund_id)
    made = (await desk.refund(refund_id)).provider_refund_id
    assert made is not None
    return refund_id, made


async def hint(desk: Desk, refund_id: UUID, made: str, status: str, generation: int = 1) -> str:
    return await desk.event(
        "refund.updated", {"id": made, "status": status, "metadata": ours(refund_id, generation)}
    )


async def test_a_refund_that_settles_later_is_moved_on_by_its_webhook(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    assert (await desk.refund(refund_id)).status == "submitted"
    stripe.settle(made, "succeeded")
    event = await hint(desk, refund_id, made, "succeeded")

    assert isinstance(await desk.tell(event), Recorded)

    assert (await desk.refund(refund_id)).status == "succeeded"
    stored = await desk.stored_event(event)
    assert (stored.outcome, stored.applied_at is not None) == ("succeeded", True)


async def test_what_the_webhook_says_is_not_believed_but_read(desk: Desk, stripe: FakeGateway) -> None:
    refund_id, made = await paid(desk, stripe, "pending")

    await desk.tell(await hint(desk, refund_id, made, "succeeded"))

    assert (await desk.refund(refund_id)).status == "submitted"


async def test_events_out_of_order_and_twice_change_nothing_more(desk: Desk, stripe: FakeGateway) -> None:
    refund_id, made = await paid(desk, stripe)
    event = await hint(desk, refund_id, made, "pending")

    await desk.tell(event)
    before = await desk.refund(refund_id)
    ctx_answer = await desk.tell(await hint(desk, refund_id, made, "succeeded"))

    assert isinstance(ctx_answer, Recorded)
    assert (await desk.refund(refund_id)).updated_at == before.updated_at
    assert (await desk.stored_event(event)).outcome == "unchanged"


async def test_an_event_that_was_applied_is_not_applied_again(desk: Desk, stripe: FakeGateway) -> None:
    refund_id, made = await paid(desk, stripe)
    event = await hint(desk, refund_id, made, "succeeded")
    await desk.tell(event)
    reads = stripe.calls.count("retrieve")
    [run] = await desk.database.rows("SELECT id FROM job_runs WHERE job = 'apply_stripe_event'")
    await desk.set_run(run.id, state="pending", finished_at=None)

    assert isinstance(await desk.handle(await desk.claim(run.id)), Done)
    assert stripe.calls.count("retrieve") == reads


async def test_an_event_that_overtakes_our_own_commit_waits_for_it(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", OutcomeUnknown("cut"), after=True)
    await desk.pay(refund_id)
    [made] = stripe.refunds
    event = await hint(desk, refund_id, made, "succeeded")

    assert isinstance(await desk.tell(event), Snooze)
    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("processing", None)

    await desk.pay(refund_id)
    await desk.tell(event)
    assert (await desk.refund(refund_id)).provider_refund_id == made
    assert (await desk.stored_event(event)).applied_at is not None


async def test_an_event_does_not_wait_for_ever_for_a_run_that_is_stuck(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", OutcomeUnknown("cut"), after=True)
    await desk.pay(refund_id)
    [made] = stripe.refunds
    event = await desk.event(
        "refund.updated", {"id": made, "metadata": ours(refund_id)}, age=timedelta(minutes=6)
    )

    assert isinstance(await desk.tell(event), Recorded)
    assert (await desk.stored_event(event)).outcome == "left_to_its_run"
    assert (await desk.refund(refund_id)).status == "processing"


async def test_a_refund_that_fails_without_ever_having_succeeded_is_failed(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    stripe.settle(made, "failed", "lost_or_stolen_card")

    await desk.tell(await hint(desk, refund_id, made, "failed"))

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == ("failed", "lost_or_stolen_card")


@pytest.mark.parametrize("way", ["webhook", "reconciliation"])
async def test_a_refund_that_fails_after_it_succeeded_goes_to_a_person_with_an_alarm(
    desk: Desk, stripe: FakeGateway, way: str
) -> None:
    refund_id, made = await paid(desk, stripe)
    stripe.settle(made, "failed", "expired_or_canceled_card")

    if way == "webhook":
        await desk.tell(await hint(desk, refund_id, made, "failed"))
    else:
        await desk.set_refund(refund_id, reconciled_at=text("now() - interval '2 days'"))
        await desk.reconcile()

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == ("needs_review", "expired_or_canceled_card")
    [line] = desk.logged("refund_failed_after_success")
    assert (line["log_level"], line["refund_id"]) == ("error", str(refund_id))


async def test_a_refund_that_was_failed_here_and_shows_up_as_paid_raises_an_alarm(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund("pi_nobody")
    await desk.pay(refund_id)
    made = stripe.add_refund("pi_1", 4_000, ours(refund_id))

    await desk.tell(await hint(desk, refund_id, made.id, "succeeded"))

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_paid_though_failed")


async def test_a_second_refund_at_stripe_with_our_metadata_raises_an_alarm(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, made = await paid(desk, stripe)
    second = stripe.add_refund("pi_1", 10, ours(refund_id))

    await desk.tell(await hint(desk, refund_id, second.id, "succeeded"))

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("needs_review", made)
    assert desk.logged("refund_unexpected_at_stripe")


async def test_late_news_of_an_earlier_generation_that_failed_changes_nothing(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, _ = await paid(desk, stripe)
    old = stripe.add_refund("pi_1", 10, ours(refund_id), status="failed")
    await desk.set_refund(refund_id, generation=2)

    await desk.tell(await hint(desk, refund_id, old.id, "failed"))

    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_what_is_in_review_stays_a_persons(desk: Desk, stripe: FakeGateway) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    await desk.set_refund(refund_id, status="needs_review")
    stripe.settle(made, "succeeded")

    await desk.tell(await hint(desk, refund_id, made, "succeeded"))

    assert (await desk.refund(refund_id)).status == "needs_review"


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ({"id": "re_1", "metadata": {}}, "not_ours"),
        ({"id": "re_1", "metadata": {"refund_id": "no id"}}, "not_ours"),
        ({"id": "re_1", "metadata": "odd"}, "not_ours"),
        ({"id": "re_1", "metadata": ours(UUID(int=1))}, "not_ours"),
        ({"id": "ch_1", "object": "charge"}, "ignored"),
        ({"no": "id"}, "ignored"),
    ],
)
async def test_what_is_not_ours_is_marked_so_and_never_fails(
    desk: Desk, stripe: FakeGateway, found: dict[str, object], word: str
) -> None:
    event = await desk.event("charge.refunded", found)

    assert isinstance(await desk.tell(event), Recorded)
    assert (await desk.stored_event(event)).outcome == word
    assert stripe.calls == []


async def test_an_event_that_names_our_refund_over_one_that_does_not_is_not_ours(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, _ = await paid(desk, stripe, "pending")
    other = stripe.add_refund("pi_1", 10)

    event = await hint(desk, refund_id, other.id, "succeeded")
    await desk.tell(event)

    assert (await desk.stored_event(event)).outcome == "not_ours"
    assert (await desk.refund(refund_id)).status == "submitted"


async def test_a_refund_is_found_by_stripes_id_where_the_metadata_is_gone(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    stripe.settle(made, "succeeded")

    await desk.tell(await desk.event("refund.updated", {"id": made, "metadata": {}}))

    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.parametrize(("check", "answer"), [(None, Retry), (OutcomeUnknown("away"), PauseQueue)])
async def test_an_event_waits_while_stripe_cannot_be_read(
    desk: Desk, stripe: FakeGateway, check: Exception | None, answer: type
) -> None:
    refund_id, made = await paid(desk, stripe, "pending")
    stripe.fail_next("retrieve", OutcomeUnknown("cut"))
    stripe.fail_always("check", check)
    event = await hint(desk, refund_id, made, "succeeded")

    assert isinstance(await desk.tell(event), answer)
    assert (await desk.stored_event(event)).applied_at is None


# ------------------------------------------------------------------------------------------------------ reconciliation


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
