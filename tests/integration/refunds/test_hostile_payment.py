"""Attacks on the payment of one refund: replays of old answers, books that do not fit, a worker that dies behind a refusal."""

from datetime import timedelta

import pytest

from shared.core.outcomes import Outcome, Snooze
from shared.ports import KeyConflict, OutcomeUnknown, RefundGateway, RefundRefused
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox

CUT = OutcomeUnknown("the connection was cut")


# ----------------------------------------------------------------------------------------------------- one after the other


@pytest.mark.rule(26)
async def test_a_refund_behind_another_one_of_its_payment_asks_stripe_nothing(
    desk: Desk, stripe: FakeGateway
) -> None:
    """A thousand of them would spend the rate that all workers share."""
    first, second = await desk.add_refund(amount=10), await desk.add_refund(amount=10)
    stripe.fail_next("create", CUT)
    await desk.pay(first)
    stripe.calls.clear()
    desk.limiter.turns.clear()

    assert isinstance(await desk.pay(second), Snooze)

    assert (stripe.calls, desk.limiter.turns) == ([], [])


# ------------------------------------------------------------------------------------------------- what Stripe's book shows


@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_two_refunds_in_force_are_never_taken_for_one(
    desk: Desk, stripe: FakeGateway, status: str
) -> None:
    """Ours of this generation, and one of an earlier generation that pays beside it."""
    refund_id = await desk.add_refund(amount=10, generation=2)
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)
    stripe.add_refund("pi_1", 10, ours(refund_id, 1))
    stripe.add_refund("pi_1", 10, ours(refund_id, 2), status=status)
    stripe.fail_next("create", KeyConflict("other parameters"))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_unexpected_at_stripe")


async def test_a_refund_that_names_ours_without_a_generation_is_not_overlooked(
    desk: Desk, stripe: FakeGateway
) -> None:
    """Made by hand at Stripe, with the refund's id."""
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=25))
    stripe.add_refund("pi_1", 4_000, {"refund_id": str(refund_id)})

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_unexpected_at_stripe")


@pytest.mark.rule(24)
async def test_a_new_generation_looks_before_it_pays(desk: Desk, stripe: FakeGateway) -> None:
    """A worker that slept for a day has paid the generation before, after the person had looked."""
    refund_id = await desk.add_refund(amount=10, generation=2)
    stripe.add_refund("pi_1", 10, ours(refund_id, 1))

    await desk.pay(refund_id)

    assert "create" not in stripe.calls
    assert stripe.paid("pi_1") == 10
    assert (await desk.refund(refund_id)).status == "needs_review"


@pytest.mark.rule(24)
async def test_a_new_generation_is_paid_beside_those_that_are_void(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(amount=10, generation=3)
    stripe.add_refund("pi_1", 10, ours(refund_id, 1), status="failed")
    stripe.add_refund("pi_1", 10, ours(refund_id, 2), status="canceled")

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"
    assert stripe.paid("pi_1") == 10


# --------------------------------------------------------------------------------------------------- on the real wire


async def test_a_replayed_answer_is_not_believed_about_what_happened_since(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    """The key replays the answer of then: succeeded. The refund has failed since."""
    worker = desk.with_gateway(http_gateway)
    refund_id = await desk.add_refund()
    sandbox.fault("drop_after")
    await worker.pay(refund_id)
    [made] = sandbox.refunds()
    sandbox.settle(made["id"], "failed", "declined")

    await worker.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == ("failed", "declined")
    assert refund.succeeded_at is None
    assert len(sandbox.refunds()) == 1


async def test_another_accounts_key_never_makes_a_paid_refund_failed(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    """The first attempt paid; then the workers get a key to an account that does not know the payment."""
    refund_id = await desk.add_refund()
    sandbox.fault("drop_after")
    await desk.with_gateway(http_gateway).pay(refund_id)
    with stripe_sandbox(auto=False) as other:
        gateway = other.gateway()
        for _ in range(2):
            await desk.with_gateway(gateway).pay(refund_id)
        await gateway.close()

    assert (await desk.refund(refund_id)).status == "processing"
    await desk.with_gateway(http_gateway).pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"
    assert len(sandbox.refunds()) == 1


async def test_two_equal_partial_refunds_of_one_payment_are_both_paid_and_told_apart(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    worker = desk.with_gateway(http_gateway)
    ids = [await desk.add_refund(amount=3_000) for _ in range(2)]
    for refund_id in ids:
        sandbox.fault("drop_after")
        await worker.pay(refund_id)
        await desk.age_attempts(refund_id, timedelta(hours=25))
        await worker.pay(refund_id)

    rows = [await desk.refund(refund_id) for refund_id in ids]
    assert [row.status for row in rows] == ["succeeded", "succeeded"]
    by_id = {each["id"]: each["metadata"]["refund_id"] for each in sandbox.refunds()}
    assert [by_id[row.provider_refund_id or ""] for row in rows] == [str(each) for each in ids]


async def test_our_refund_is_found_past_the_first_hundred_of_its_payment(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway
) -> None:
    sandbox.add_intent("pi_many", amount=1_000)
    refund_id = await desk.add_refund("pi_many", 10)
    sandbox.fault("drop_after")
    await desk.with_gateway(http_gateway).pay(refund_id)
    for n in range(105):
        await http_gateway.create(
            payment_intent_id="pi_many", amount=1, reason=None, metadata={}, idempotency_key=f"by-hand-{n}"
        )
    await desk.age_attempts(refund_id, timedelta(hours=24))

    await desk.with_gateway(http_gateway).pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"
    assert len(sandbox.refunds("pi_many")) == 106


# -------------------------------------------------------------------------------------------------- the ends of a run


async def test_a_refusal_after_which_the_worker_dies_is_decided_by_the_next(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", RefundRefused("charge_disputed", "disputed"), times=2)

    async def die() -> Outcome:
        raise ConnectionError("PostgreSQL is away")

    decide = "worker_svc.handlers.refund_settling.Settling.decide"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, lambda *_: die())
        assert isinstance(await desk.pay(refund_id), ConnectionError)
    assert (await desk.refund(refund_id)).status == "processing"

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "failed"
