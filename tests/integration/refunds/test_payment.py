"""One refund, one run: what its row and Stripe's books become."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from shared.core.errors import LeaseExpired
from shared.core.outcomes import Recorded, Retry
from shared.ports import (
    KeyConflict,
    OutcomeUnknown,
)
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk, ours

CUT = OutcomeUnknown("the connection was cut")


async def test_a_refund_is_paid_and_the_run_ends_with_it(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(currency="USD")

    assert isinstance(await desk.pay(refund_id), Recorded)

    refund = await desk.refund(refund_id)
    [made] = stripe.refunds.values()
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)
    assert made.amount == 4_000
    assert refund.submitted_at is not None
    assert refund.succeeded_at is not None
    run = await desk.run(refund.run_id)
    assert (run.state, run.result) == ("succeeded", {"status": "succeeded", "provider_refund_id": made.id})
    [attempt] = await desk.attempts(refund_id)
    assert (attempt.outcome, attempt.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ("pending", "submitted", None),
        ("requires_action", "submitted", None),
        ("failed", "failed", "failed"),
        ("canceled", "failed", "canceled"),
        ("on_the_moon", "needs_review", None),
    ],
)
async def test_what_stripe_answers_decides_the_status(
    desk: Desk, stripe: FakeGateway, told: str, status: str, reason: str | None
) -> None:
    stripe.first_status = told
    refund_id = await desk.add_refund()

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == (status, reason)
    assert refund.provider_refund_id is not None


@pytest.mark.rule(24)
async def test_all_automatic_attempts_share_one_key_over_runs_that_die(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=3)
    assert isinstance(await desk.pay(refund_id), Retry)
    assert isinstance(await desk.pay(refund_id), Retry)
    await desk.set_run((await desk.refund(refund_id)).run_id, state="dead")
    assert isinstance(await desk.pay(refund_id), Retry)
    await desk.pay(refund_id)

    assert stripe.keys_sent == [f"refund-{refund_id}-1"] * 4
    assert [attempt.idempotency_key for attempt in await desk.attempts(refund_id)] == stripe.keys_sent
    [made] = stripe.refunds.values()
    assert dict(made.metadata) == ours(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(24)
async def test_the_reason_is_sent_only_as_the_row_has_it(desk: Desk, stripe: FakeGateway) -> None:
    sent: list[str | None] = []
    create = stripe.create

    async def spy(**params: object) -> object:
        sent.append(params["reason"])  # type: ignore[arg-type]  # the port's own type
        return await create(**params)  # type: ignore[arg-type]  # the port's own types

    stripe.create = spy  # type: ignore[assignment,method-assign]  # watched, not changed
    for reason in (None, "fraudulent", "duplicate"):
        await desk.pay(await desk.add_refund(amount=10, reason=reason))

    assert sent == [None, "fraudulent", "duplicate"]


@pytest.mark.rule(7)
async def test_a_worker_that_wakes_after_its_lease_makes_no_call(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    ctx = await desk.claim((await desk.refund(refund_id)).run_id)
    ctx.lease.lose()

    assert isinstance(await desk.handle(ctx), LeaseExpired)
    assert stripe.calls == []


@pytest.mark.rule(7)
async def test_a_lease_that_is_lost_while_waiting_for_its_turn_stops_the_call(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    ctx = await desk.claim((await desk.refund(refund_id)).run_id)
    acquire = desk.limiter.acquire

    async def slow(name: str, **limits: float) -> None:
        await acquire(name, **limits)  # type: ignore[arg-type]  # the port's own types
        if name == "stripe:refunds":  # before it came the reading of the payment
            ctx.lease.lose()

    desk.limiter.acquire = slow  # type: ignore[assignment,method-assign]  # watched, not changed

    assert isinstance(await desk.handle(ctx), LeaseExpired)
    assert stripe.calls == ["payment_intent"]
    assert (await desk.refund(refund_id)).status == "processing"


@pytest.mark.rule(25)
async def test_a_wrong_currency_is_found_before_anything_is_sent(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(currency="eur")

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert "usd" in (refund.review_reason or "")
    assert "create" not in stripe.calls
    assert await desk.attempts(refund_id) == []


@pytest.mark.rule(25)
@pytest.mark.parametrize("change", [{"amount": 1}, {"currency": "eur"}, {"payment_intent_id": "pi_2"}])
async def test_what_a_key_stands_for_is_frozen_once_there_is_an_attempt(
    desk: Desk, stripe: FakeGateway, change: dict[str, object]
) -> None:
    refund_id = await desk.add_refund()
    await desk.set_refund(refund_id, **change)  # before: free
    await desk.set_refund(refund_id, amount=4_000, currency="usd", payment_intent_id="pi_1")
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)

    with pytest.raises(IntegrityError, match="frozen"):
        await desk.set_refund(refund_id, **change)


@pytest.mark.rule(25)
@pytest.mark.parametrize("answer", [{"amount": 4_001}, {"currency": "eur"}, {"payment_intent_id": "pi_2"}])
async def test_an_answer_that_is_not_what_was_asked_for_goes_to_a_person(
    desk: Desk, stripe: FakeGateway, answer: dict[str, object]
) -> None:
    create = stripe.create

    async def wrong(**params: object) -> object:
        return replace(await create(**params), **answer)  # type: ignore[arg-type]  # a parameter's

    stripe.create = wrong  # type: ignore[assignment,method-assign]  # a Stripe that errs
    refund_id = await desk.add_refund()
    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert refund.provider_refund_id in stripe.refunds
    assert desk.logged("refund_mismatch")[0]["log_level"] == "error"


@pytest.mark.rule(25)
async def test_a_key_conflict_is_reconciled_first(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    made = stripe.add_refund("pi_1", 4_000, ours(refund_id))
    stripe.fail_next("create", KeyConflict("other parameters"))

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.rule(25)
async def test_a_key_conflict_of_which_stripe_shows_nothing_goes_to_a_person(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.add_refund("pi_1", 10)  # somebody else's
    stripe.fail_next("create", KeyConflict("other parameters"))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
