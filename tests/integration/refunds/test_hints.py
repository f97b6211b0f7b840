"""Webhooks are hints: what they say is read again, in whatever order they come (rule 29)."""

from datetime import timedelta
from uuid import UUID

import pytest

from shared.core.errors import PauseQueue
from shared.core.outcomes import Done, Recorded, Retry, Snooze
from shared.ports import OutcomeUnknown
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours
from tests.integration.refunds.hints import hint, paid

pytestmark = pytest.mark.rule(29)


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
