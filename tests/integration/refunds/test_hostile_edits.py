"""Attacks on the payment of one refund: its row is edited just before the attempt."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from shared.ports import OutcomeUnknown
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

CUT = OutcomeUnknown("the connection was cut")


def meanwhile(stripe: FakeGateway, call: str, what: Callable[[], Awaitable[Any]]) -> None:
    """Once, while the next call of this name is under way, `what` happens."""
    inner = getattr(stripe, call)

    async def wrapped(*args: Any, **params: Any) -> Any:
        setattr(stripe, call, inner)
        answer = await inner(*args, **params)
        await what()
        return answer

    setattr(stripe, call, wrapped)


async def pay_out(desk: Desk, refund_id: UUID, most: int = 5) -> None:
    """As long as the refund waits, one attempt after the other."""
    for _ in range(most):
        if (await desk.refund(refund_id)).status not in ("pending", "processing"):
            return
        await desk.pay(refund_id)


@pytest.mark.rule(25)
async def test_an_amount_that_is_edited_just_before_the_attempt_is_the_one_that_is_paid(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund(amount=4_000)
    meanwhile(stripe, "payment_intent", lambda: desk.set_refund(refund_id, amount=40))

    await pay_out(desk, refund_id)

    assert stripe.paid("pi_1") == 40
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(25)
@pytest.mark.parametrize("change", [{"currency": "eur"}, {"payment_intent_id": "pi_eur"}])
async def test_what_is_edited_just_before_the_attempt_is_checked_again(
    desk: Desk, stripe: FakeGateway, change: dict[str, str]
) -> None:
    stripe.add_intent("pi_eur", currency="eur")
    refund_id = await desk.add_refund()
    meanwhile(stripe, "payment_intent", lambda: desk.set_refund(refund_id, **change))

    await pay_out(desk, refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert stripe.refunds == {}


@pytest.mark.rule(25)
async def test_a_reason_that_is_edited_just_before_the_attempt_makes_no_conflict_with_it(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    meanwhile(stripe, "payment_intent", lambda: desk.set_refund(refund_id, reason="duplicate"))
    stripe.fail_next("create", CUT, after=True)

    await pay_out(desk, refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(25)
async def test_the_reason_is_frozen_too_since_stripe_compares_it(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.set_refund(refund_id, reason="duplicate")  # before: free
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)

    with pytest.raises(IntegrityError, match="frozen"):
        await desk.set_refund(refund_id, reason="fraudulent")
