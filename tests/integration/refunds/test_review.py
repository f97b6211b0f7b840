"""What a person decides about refunds, with both books in view (rule 24)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from shared import refund_review
from shared.core.errors import BadInput
from shared.core.refund_review import Decision
from shared.core.refunds import RefundStatus
from shared.ports import OutcomeUnknown, ProviderRefund
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.review import resolve, unclear

pytestmark = pytest.mark.rule(24)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=30)])
@pytest.mark.parametrize("told", ["succeeded", "pending", "requires_action"])
@pytest.mark.parametrize("decision", ["retry", "mark-failed", "mark-succeeded"])
async def test_what_stripe_shows_as_paid_is_never_paid_again_nor_called_otherwise(
    desk: Desk, stripe: FakeGateway, decision: str, told: str, age: timedelta
) -> None:
    stripe.first_status = told
    refund_id = await unclear(desk, stripe, paid=True)
    await desk.age_attempts(refund_id, age)
    before = await desk.refund(refund_id)

    with pytest.raises(BadInput, match=f"as {told}"):
        await resolve(desk, refund_id, decision, "a note")
    assert (await desk.refund(refund_id)).updated_at == before.updated_at


@pytest.mark.parametrize(
    ("told", "status"), [("succeeded", "succeeded"), ("pending", "submitted"), ("failed", "failed")]
)
async def test_accepting_takes_over_what_stripe_shows(
    desk: Desk, stripe: FakeGateway, told: str, status: str
) -> None:
    stripe.first_status = told
    refund_id = await unclear(desk, stripe, paid=True)

    view = await resolve(desk, refund_id, "accept")

    assert (view.status, view.provider_refund_id) == (status, next(iter(stripe.refunds)))
    assert ((await desk.refund(refund_id)).succeeded_at is not None) == (status == "succeeded")


async def test_there_is_nothing_to_accept_where_stripe_shows_nothing(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)

    with pytest.raises(BadInput, match="shows no refund"):
        await resolve(desk, refund_id, "accept")


async def test_a_refund_can_be_given_up(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)

    view = await resolve(desk, refund_id, "mark-failed", "the customer has gone")

    assert (view.status, view.reason) == ("failed", "the customer has gone")


async def test_a_refund_paid_in_another_way_needs_a_note(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)

    with pytest.raises(BadInput, match="note"):
        await resolve(desk, refund_id, "mark-succeeded")
    assert (await resolve(desk, refund_id, "mark-succeeded", "bank transfer 17")).status == "succeeded"


@pytest.mark.parametrize("status", ["pending", "processing", "submitted", "succeeded"])
@pytest.mark.parametrize("decision", [each.value for each in Decision])
async def test_only_what_is_parked_or_failed_is_a_persons(
    desk: Desk, stripe: FakeGateway, decision: str, status: str
) -> None:
    refund_id = await desk.add_refund(status=status)

    with pytest.raises(BadInput, match=f"it is {status}"):
        await resolve(desk, refund_id, decision, "a note")


async def test_no_decision_is_taken_without_stripes_book(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)
    stripe.fail_next("list_for", OutcomeUnknown("away"))

    with pytest.raises(BadInput, match="cannot be read"):
        await resolve(desk, refund_id, "mark-failed")


async def test_a_refund_that_changes_while_it_is_decided_is_left(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)
    list_for = stripe.list_for

    async def changed_meanwhile(intent_id: str) -> AsyncIterator[ProviderRefund]:
        await desk.set_refund(refund_id, updated_at=text("now()"))
        async for found in list_for(intent_id):
            yield found

    stripe.list_for = changed_meanwhile  # type: ignore[method-assign]  # somebody else, at the worst moment
    with pytest.raises(BadInput, match="look at it again"):
        await resolve(desk, refund_id, "mark-failed")


async def test_both_books_are_shown_side_by_side(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe, paid=True)
    stripe.add_refund("pi_1", 5)

    books = await refund_review.show(desk.database, stripe, refund_id)

    assert (books.refund.status, books.refund.reason) == ("needs_review", "unclear")
    assert [attempt.outcome for attempt in books.attempts] == [None]
    assert books.provider is not None
    assert [(each.amount, each.ours, each.generation) for each in books.provider] == [
        (5, False, None),
        (4_000, True, 1),
    ]


async def test_our_book_is_shown_even_if_stripe_does_not_answer(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await unclear(desk, stripe)
    stripe.fail_next("list_for", OutcomeUnknown("away"))

    books = await refund_review.show(desk.database, stripe, refund_id)

    assert books.provider is None
    assert "away" in (books.provider_error or "")
    assert (await refund_review.show(desk.database, None, refund_id)).provider is None


async def test_refunds_are_listed_by_status_last_changed_first(desk: Desk, stripe: FakeGateway) -> None:
    first, second = await unclear(desk, stripe), await unclear(desk, stripe)
    await desk.add_refund()

    parked = await refund_review.list_refunds(desk.database, statuses=[RefundStatus.NEEDS_REVIEW])

    assert [view.id for view in parked] == [second, first]
    assert len(await refund_review.list_refunds(desk.database, most=2)) == 2


async def test_an_unknown_refund_is_bad_input(desk: Desk) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        await refund_review.show(desk.database, None, UUID(int=1))
