"""News that contradict what is written here go to a person with an alarm, or change nothing (rule 29)."""

import pytest
from sqlalchemy import text

from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours
from tests.integration.refunds.hints import hint, paid

pytestmark = pytest.mark.rule(29)


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
