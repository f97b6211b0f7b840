"""A retry that a person decides opens the next generation only where the last one can pay no more (rule 24)."""

from datetime import timedelta

import pytest

from shared import refund_review
from shared.core.errors import BadInput
from shared.ports import RefundRefused
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.review import failed_later, resolve, unclear

pytestmark = pytest.mark.rule(24)


async def test_retrying_a_refund_that_failed_at_stripe_opens_the_next_generation(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await failed_later(desk, stripe)

    view = await resolve(desk, refund_id, "retry", "new card")
    assert (view.status, view.generation, view.provider_refund_id) == ("pending", 2, None)
    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "succeeded"
    assert stripe.keys_sent == [f"refund-{refund_id}-1", f"refund-{refund_id}-2"]
    assert stripe.paid("pi_1") == 4_000


async def test_a_retry_is_audited_with_its_run_in_one_transaction(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await failed_later(desk, stripe)

    view = await resolve(desk, refund_id, "retry", "new card")

    [decision] = (await refund_review.show(desk.database, stripe, refund_id)).decisions
    assert (decision.actor, decision.action) == ("cli:ann", "retry")
    assert decision.detail["note"] == "new card"
    assert (decision.detail["generation"], decision.detail["next_generation"]) == (1, 2)
    assert (await desk.run(view.run_id)).state == "pending"


async def test_a_decision_that_cannot_enqueue_its_run_decides_nothing(
    desk: Desk, stripe: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund_id = await failed_later(desk, stripe)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no run")

    monkeypatch.setattr(desk.enqueuer, "enqueue", broken)
    with pytest.raises(RuntimeError, match="no run"):
        await resolve(desk, refund_id, "retry")

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.generation) == ("needs_review", 1)
    assert (await refund_review.show(desk.database, stripe, refund_id)).decisions == []


async def test_retrying_soon_sends_the_same_key_again(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)

    assert (await resolve(desk, refund_id, "retry")).generation == 1
    await desk.pay(refund_id)

    assert len(set(stripe.keys_sent)) == 1
    assert stripe.paid("pi_1") == 4_000


@pytest.mark.parametrize("hours", [23, 23.99])
async def test_between_23_and_24_hours_no_key_is_safe(desk: Desk, stripe: FakeGateway, hours: float) -> None:
    refund_id = await unclear(desk, stripe)
    await desk.age_attempts(refund_id, timedelta(hours=hours))

    with pytest.raises(BadInput, match="24 h after the first attempt"):
        await resolve(desk, refund_id, "retry")
    assert (await desk.refund(refund_id)).generation == 1


async def test_after_24_hours_and_with_nothing_at_stripe_a_new_key_is_safe(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await unclear(desk, stripe)
    await desk.age_attempts(refund_id, timedelta(hours=24, minutes=1))

    assert (await resolve(desk, refund_id, "retry")).generation == 2
    await desk.pay(refund_id)
    assert stripe.paid("pi_1") == 4_000


async def test_a_refusal_is_not_sent_again_under_a_key_that_would_repeat_it(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", RefundRefused("charge_disputed", "disputed"))
    await desk.pay(refund_id)

    with pytest.raises(BadInput, match="repeat its refusal"):
        await resolve(desk, refund_id, "retry")
    await desk.age_attempts(refund_id, timedelta(hours=25))
    assert (await resolve(desk, refund_id, "retry")).generation == 2


async def test_a_refund_that_was_never_sent_keeps_its_generation(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(currency="eur")
    await desk.pay(refund_id)
    await desk.set_refund(refund_id, currency="usd")

    assert (await resolve(desk, refund_id, "retry")).generation == 1
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_a_refund_that_died_three_times_starts_afresh_when_retried(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    for _ in range(3):
        await desk.sweep()
        await desk.set_run((await desk.refund(refund_id)).run_id, state="dead")
    await desk.sweep()
    assert (await desk.refund(refund_id)).status == "needs_review"

    await resolve(desk, refund_id, "retry")

    assert (await desk.refund(refund_id)).dead_runs == 0
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"
