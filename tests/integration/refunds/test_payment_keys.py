"""Payments that were refunded already, and how long an idempotency key is sent again (rules 26 and 27)."""

from datetime import timedelta

import pytest

from shared.core.errors import RateLimited
from shared.core.outcomes import Retry, Snooze
from shared.ports import (
    AlreadyRefunded,
    OutcomeUnknown,
)
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours

CUT = OutcomeUnknown("the connection was cut")


@pytest.mark.rule(26)
async def test_already_refunded_by_somebody_else_is_failed(desk: Desk, stripe: FakeGateway) -> None:
    stripe.add_refund("pi_1", 10_000)
    refund_id = await desk.add_refund()

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "failed"
    assert "charge_already_refunded" in (refund.failure_reason or "")


@pytest.mark.rule(26)
async def test_already_refunded_by_an_earlier_attempt_of_ours_is_that_refund(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund(amount=10_000)
    made = stripe.add_refund("pi_1", 10_000, ours(refund_id))
    stripe.fail_next("create", AlreadyRefunded("charge_already_refunded", "nothing left"))

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.rule(26)
async def test_already_refunded_by_an_earlier_generation_goes_to_a_person(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund(amount=10_000, generation=2)
    stripe.add_refund("pi_1", 10_000, ours(refund_id, 1))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_unexpected_at_stripe")


@pytest.mark.rule(26)
async def test_two_refunds_of_one_payment_are_paid_one_after_the_other(
    desk: Desk, stripe: FakeGateway
) -> None:
    first, second = await desk.add_refund(amount=6_000), await desk.add_refund(amount=6_000)
    stripe.fail_next("create", CUT)
    assert isinstance(await desk.pay(first), Retry)

    before = await desk.run((await desk.refund(second)).run_id)
    assert isinstance(await desk.pay(second), Snooze)
    after = await desk.run(before.id)
    assert after.max_attempts - after.attempt == before.max_attempts - before.attempt
    assert (await desk.refund(second)).status == "pending"

    await desk.pay(first)
    await desk.pay(second)
    assert (await desk.refund(first)).status == "succeeded"
    assert (await desk.refund(second)).status == "failed"
    assert stripe.paid("pi_1") == 6_000


@pytest.mark.rule(27)
async def test_a_key_is_sent_again_until_it_is_23_hours_old(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=22, minutes=59))

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 2
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(27)
async def test_an_older_key_is_never_sent_again_and_a_person_decides(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=2)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=23))
    stripe.forget_keys()

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 1
    assert (await desk.refund(refund_id)).status == "needs_review"
    assert stripe.paid("pi_1") == 0


@pytest.mark.rule(27)
async def test_an_older_key_whose_refund_stripe_shows_is_resolved_by_that(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, after=True)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=30))
    stripe.forget_keys()

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 1
    assert (await desk.refund(refund_id)).status == "succeeded"
    assert stripe.paid("pi_1") == 4_000


@pytest.mark.rule(27)
async def test_the_hours_count_from_the_first_attempt_not_the_last(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=2)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=23))
    await desk.age_attempts(refund_id, -timedelta(hours=1))
    await desk.pay(refund_id)  # at 22 hours
    await desk.age_attempts(refund_id, timedelta(hours=1))

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 2
    assert (await desk.refund(refund_id)).status == "needs_review"


async def test_attempts_that_had_no_effect_do_not_age_the_key(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", RateLimited("429"))
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=48))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"
